#ifndef PGBOX_REPLICA_H
#define PGBOX_REPLICA_H

struct pgbox_mailbox;
struct pgbox_pull;
struct pgbox_pull_counters;

/* What may be read from a replica (storage->replica; without one the answer is
   always no), and what is known of it. README has the rules. */

/* May the replica have this message? FALSE in the second after it lacked it, or one
   before it. */
bool pgbox_replica_may_have(struct pgbox_mailbox *mbox, uint32_t uid);
/* It was asked for this message and had none from there on. */
void pgbox_replica_set_lacking(struct pgbox_mailbox *mbox, uint32_t uid);

/* Is a pull one that the replica is worth to be asked for? open_modseq is the
   mailbox's highest modseq as the primary said in this opening, 0 if that was
   used up. */
bool pgbox_replica_want_pull(struct pgbox_mailbox *mbox, uint64_t since,
			     uint64_t open_modseq);
/* pgbox_pull_begin() at the replica. Returns 1, or 0 if that can't be asked, is
   behind open_modseq, or tells of another past. */
int pgbox_replica_pull_begin(struct pgbox_mailbox *mbox, uint64_t since,
			     uint64_t open_modseq, struct pgbox_pull **pull_r,
			     struct pgbox_pull_counters *counters_r);
/* What it had begun to tell couldn't be applied: most probably it died. The pull
   has been ended. */
void pgbox_replica_pull_failed(struct pgbox_mailbox *mbox);

#endif
