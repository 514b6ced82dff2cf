#ifndef PGBOX_SAVE_H
#define PGBOX_SAVE_H

#include "pgbox-storage.h"

struct pgbox_commit;
struct pgbox_upload;
struct pgbox_upload_mail;
struct pgbox_spool;

struct pgbox_save_context {
	struct mail_save_context ctx;
	struct pgbox_mailbox *mbox;

	struct pgbox_upload *upload;
	struct pgbox_spool *spool;

	/* the message being saved or saved last; it is also what the
	   context's dest_mail reads from */
	struct pgbox_upload_mail *mail;
	struct istream *input;
	struct ostream *output;

	/* from transaction_save_commit_pre to _post */
	struct pgbox_commit *commit;

	bool failed:1;
	bool finished:1;
};
#define PGBOX_SAVECTX(s) \
	(container_of(s, struct pgbox_save_context, ctx))

/* Begin a message in the index transaction and in the upload. */
void pgbox_save_add(struct pgbox_save_context *ctx);
/* Take it back. */
void pgbox_save_remove(struct pgbox_save_context *ctx);

/* mailbox vfuncs */
struct mail_save_context *
pgbox_save_alloc(struct mailbox_transaction_context *t);
int pgbox_save_begin(struct mail_save_context *ctx, struct istream *input);
int pgbox_save_continue(struct mail_save_context *ctx);
int pgbox_save_finish(struct mail_save_context *ctx);
void pgbox_save_cancel(struct mail_save_context *ctx);
int pgbox_copy(struct mail_save_context *ctx, struct mail *mail);
int pgbox_transaction_save_commit_pre(struct mail_save_context *ctx);
void pgbox_transaction_save_commit_post(
	struct mail_save_context *ctx,
	struct mail_index_transaction_commit_result *result);
void pgbox_transaction_save_rollback(struct mail_save_context *ctx);

#endif
