#ifndef PGBOX_UPLOAD_H
#define PGBOX_UPLOAD_H

#include "pgbox-db-change.h"
#include "pgbox-db-content.h"

/* Headers above this are stored as part of the body, in chunks. */
#define PGBOX_UPLOAD_MAX_HEADER (64 * 1024)

struct pgbox_conn;
struct pgbox_error;
struct pgbox_mailbox;
struct istream;

/* Digests that a delivery has in common with its repetition by the MTA, see
   pgbox-delivery.c. Set while its only message is saved. */
struct pgbox_upload_delivery {
	/* FALSE: the others mean nothing */
	bool known;
	/* of the message alone, whoever gets it */
	unsigned char message[PGBOX_DIGEST_SIZE];
	/* of the message for this recipient */
	unsigned char name[PGBOX_DIGEST_SIZE];
};

/* One message that a transaction adds. */
struct pgbox_upload_mail {
	/* sequence in the transaction's view */
	uint32_t seq;
	struct pgbox_append append;
	/* a mailbox that it is moved from; open until the commit */
	struct pgbox_mailbox *source_mbox;
	/* UID there */
	uint32_t moved_uid;
	/* where the bytes are; NULL for a copy by reference */
	struct istream *input;
	/* content.header points into memory of its own pool; content.head is
	   read when it is sent */
	struct pgbox_content content;
};

/* The messages that a transaction adds: collected while they are saved, sent
   at commit. */
struct pgbox_upload {
	pool_t pool;
	ARRAY(struct pgbox_upload_mail *) mails;
	struct pgbox_upload_delivery delivery;
	guid_128_t token;
	/* tokens that were claimed: nothing can be committed by them */
	unsigned int tokens_lost;
	uint64_t min_modseq;
	/* after pgbox_upload_contents(): a transaction with the contents is
	   open, and nothing but the append is missing */
	struct pgbox_pipeline *pipeline;
};

/* Begin an upload. It gets a token when it is sent. */
struct pgbox_upload *pgbox_upload_init(void);
/* Frees all, rolls back what wasn't committed. *upload becomes NULL. */
void pgbox_upload_deinit(struct pgbox_upload **upload);

/* Add a message; it is freed with the upload. Strings in append must be
   allocated from upload->pool. */
struct pgbox_upload_mail *pgbox_upload_add(struct pgbox_upload *upload);
/* Take back the last message that was added. */
void pgbox_upload_remove_last(struct pgbox_upload *upload);

/* Read a chunk of the spooled body into buf. Returns 0, or -1 if reading the spool
   failed. */
int pgbox_upload_read_chunk(struct pgbox_upload_mail *mail, unsigned int number,
			    buffer_t *buf, struct pgbox_error *error_r);
/* Read a spooled message once: find its header, digest the body. Fills
   mail->content but for sizes and structure. split_header: keep the header
   apart if it isn't too large. Returns -1 and error text if reading the spool
   failed. */
int pgbox_upload_digest(struct pgbox_upload *upload,
			struct pgbox_upload_mail *mail, bool split_header,
			const char **error_r);

/* Send the contents, if there are any that don't fit in the statement that
   appends: then upload->pipeline is set afterwards, and if it is set already
   there is nothing to do. mixed: the same transaction will do more than append,
   so that contents can't travel with the append. In the database others wait
   for nothing yet but for bodies that are new. Round trips: none for one
   usual message or for copies, else 1, and 1 before it if bodies of more than
   one chunk are among them. */
int pgbox_upload_contents(struct pgbox_upload *upload, struct pgbox_conn *conn,
			  bool mixed, struct pgbox_error *error_r);
/* Append the messages to a mailbox and commit, together with what the caller
   queued in upload->pipeline (if that is set). A commit whose answer was lost
   is settled by the token. On success result->uids has a UID for each
   message, and *repeated_r tells whether it is that of an earlier delivery of
   the same message, or may be. */
int pgbox_upload_append(struct pgbox_upload *upload, struct pgbox_conn *conn,
			int64_t mailbox_id, const char *reason,
			struct pgbox_change_result *result, bool *repeated_r,
			struct pgbox_error *error_r);

#endif
