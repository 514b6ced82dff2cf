#ifndef PGBOX_CONTENT_H
#define PGBOX_CONTENT_H

#include "pgbox-db-content.h"

/* What a message consists of, as this node keeps it (src/cache): which of its
   blocks are a message's, and by what a mailbox finds them.

   The start of a message, a block of its own, tells sizes, the header and the
   body's digest; the body's chunks have names of their own, which copies with
   other headers share. The digest of the start is the message's key. It is a
   field of Dovecot's cache file, so a session that has it needs nothing from
   the database; and if it is lost, it comes with the message's row again. */

struct mail_user;
struct pgbox_content_cache;
struct pgbox_mail;
struct pgbox_mailbox;
struct pgbox_save_context;
struct pgbox_upload;

/* What never changes of a message's bytes. */
struct pgbox_content_info {
	uint64_t size, virtual_size;
	/* 0: no body */
	uint64_t body_size;
	/* -1: the header isn't kept apart */
	int64_t header_size;
	/* of the body, if there is one */
	unsigned char digest[PGBOX_DIGEST_SIZE];
};

/* Returns the cache that pgbox_content_cache and pgbox_content_cache_size tell of;
   NULL if there is to be none, or if they make no sense, which is an error in the
   log: mail goes on without a cache. */
struct pgbox_content_cache *pgbox_content_get_cache(struct mail_user *user);
/* Call when a mailbox's index was opened. */
void pgbox_content_open(struct pgbox_mailbox *mbox);

/* Take header (and body's first chunk) from this node, if it has them: then
   what is returned is in mail->have. */
void pgbox_content_get(struct pgbox_mail *mail, enum pgbox_fetch_what what);
/* Returns TRUE if pgbox_content_get() would find all that is asked for; no bytes
   are kept in memory. */
bool pgbox_content_has(struct pgbox_mail *mail, enum pgbox_fetch_what what);
/* Returns TRUE if what is read for this mail's sake is to be kept. Only what
   clients read is: whoever looks through all mails would drive that out. */
bool pgbox_content_is_kept(struct pgbox_mail *mail);
/* Keep what was fetched of a mail, if header and body's first chunk were. */
void pgbox_content_keep(struct pgbox_mail *mail);

/* The message that was saved last gets its key in the transaction. */
void pgbox_content_save_key(struct pgbox_save_context *ctx);
/* After the commit: keep the bytes of what was saved. Not if this node hasn't the
   mailbox: nothing here would find them, and who reads may do so elsewhere. */
void pgbox_content_keep_saved(struct pgbox_mailbox *mbox,
			      struct pgbox_upload *upload);

#endif
