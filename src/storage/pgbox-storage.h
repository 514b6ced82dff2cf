#ifndef PGBOX_STORAGE_H
#define PGBOX_STORAGE_H

#include "index-storage.h"
#include "mailbox-list-private.h"
#include "pgbox-settings.h"

struct pgbox_conn;
struct pgbox_content_cache;
struct pgbox_error;
struct pgbox_mailbox_row;

/* Levels of names in the database, whatever the namespace's separator is. */
#define PGBOX_HIERARCHY_SEP '/'

/* Modseqs of the database are multiples of this; see src/storage/README. */
#define PGBOX_MODSEQ_STEP 65536ULL
/* Local modseqs between two of the database stay below this distance. */
#define PGBOX_MODSEQ_HALF (PGBOX_MODSEQ_STEP / 2)

struct pgbox_storage {
	struct mail_storage storage;
	/* The user's own, shared by the whole process; NULL until create()
	   succeeded. Mailboxes have theirs: Dovecot takes one storage for all
	   namespaces. */
	struct pgbox_conn *conn;
	/* bytes of messages on this node; NULL: none are kept */
	struct pgbox_content_cache *content_cache;
	/* see pgbox-thread.c; NULL until a mailbox is opened */
	struct mail_index *thread_index;
};

/* What a local index knows of the database, kept in the index as header
   extension "pgbox". A cache whose contents don't fit is rebuilt. */
struct pgbox_index_header {
	/* everything up to this modseq is in the index; 0: nothing yet */
	uint64_t last_synced;
	uint32_t epoch;
	uint32_t unused;
};

struct pgbox_coming;
struct pgbox_mail;
struct pgbox_notify_watch;
struct pgbox_row_ahead;

struct pgbox_mailbox {
	struct mailbox box;
	struct pgbox_storage *storage;
	/* the list's */
	struct pgbox_conn *conn, *replica;

	/* identity in the database; known once the row was looked up */
	int64_t mailbox_id;
	guid_128_t guid;
	guid_128_t store_guid;
	uint32_t uidvalidity;
	uint32_t epoch;

	/* header extension of struct pgbox_index_header */
	uint32_t ext_id;
	/* fields of Dovecot's cache file, see pgbox-content.h and
	   pgbox-mail-special.c */
	unsigned int content_field, envelope_field;

	/* The mailbox's highest modseq as the lookup at open saw it. The first
	   sync after open needs no round trip if the index is there already.
	   0: used up. */
	uint64_t open_modseq;
	/* how many messages that lookup saw */
	uint32_t open_messages;

	/* When the index was last known to be current: a sync in the same turn
	   of the ioloop asks nothing. */
	struct timeval current_time;
	/* A commit has brought the index up to date, and the ioloop hasn't run
	   since: the sync that ends the command asks nothing either. (Dovecot's
	   imap moves ioloop_timeval on at the end of each command.) */
	struct timeout *to_committed;

	/* Somebody waits for changes (IDLE): the node's service tells of them,
	   and now and then it is to be seen whether it does. NULL: nobody. */
	struct pgbox_notify_watch *watch;
	struct timeout *to_poll;
	/* What the one who waits is called by. box.notify_callback goes around
	   it, so that a sync that follows is known to be his. */
	mailbox_notify_callback_t *notify_callback;

	/* keyword number of the database -> keyword index of the local index,
	   UINT_MAX for gaps; [0] is never used */
	ARRAY(unsigned int) keyword_map;

	/* In that second the replica didn't have this UID yet, nor what came
	   after it: UIDs become visible in their order. */
	time_t replica_lacks_time;
	uint32_t replica_lacks_uid;

	/* see pgbox-fetch.c */
	ARRAY(struct pgbox_mail *) fetch_queue;
	/* how many batches were asked for */
	unsigned int fetch_batch;
	/* see pgbox-coming.c; NULL: nothing is on its way */
	struct pgbox_coming *coming;
	ARRAY(struct pgbox_row_ahead) rows_ahead;
	/* the UIDs that rows_ahead was asked for; 0: none */
	uint32_t ahead_first_uid, ahead_last_uid;

	/* Messages that the commit of another transaction has moved away from
	   here: the expunge that follows is done already. */
	ARRAY_TYPE(seq_range) moved_uids;
	/* Messages that should have been moved away, but the transaction of
	   the mailbox that they were to go to has failed. IMAP MOVE within one
	   mailbox commits their expunges nevertheless. */
	ARRAY_TYPE(seq_range) unmoved_uids;

	/* What was delivered here last, see pgbox-delivery.c; 0: nothing */
	uint32_t delivered_uid;
	unsigned char delivered[32];

	/* The next sync is for the one who waits: he was called just now, or has
	   begun to wait. */
	bool waiter_called:1;
	/* Opened only to save, with an index that was never filled: saved
	   mails go to the database and the index stays as it is. */
	bool index_cold:1;
};

#define PGBOX_STORAGE(s) \
	(container_of(s, struct pgbox_storage, storage))
#define PGBOX_MAILBOX(s) \
	(container_of(s, struct pgbox_mailbox, box))

extern struct mail_storage pgbox_storage;
extern struct mailbox_list pgbox_mailbox_list;
extern struct mailbox pgbox_mailbox;
extern struct mail_vfuncs pgbox_mail_vfuncs;

/* Returns who is at work, as the database records it: the service, the user, and
   the client's address if there is one. Allocated from data stack. */
const char *pgbox_user_get_reason(struct mail_user *user);

/* Returns TRUE if the turn of the ioloop in which *tv was set to ioloop_timeval
   isn't over yet. */
bool pgbox_turn_is_now(const struct timeval *tv);

/* Returns TRUE if the mailbox belongs to this storage class. */
bool pgbox_mailbox_is_ours(struct mailbox *box);

#endif
