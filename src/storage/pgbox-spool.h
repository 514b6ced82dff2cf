#ifndef PGBOX_SPOOL_H
#define PGBOX_SPOOL_H

struct istream;
struct ostream;
struct pgbox_spool;

/* Where a transaction keeps the messages that are being saved until it
   commits: the first in memory as long as it is small, all others one after
   the other in one temporary file, so that neither memory nor file
   descriptors grow with their number. */

/* path_prefix: for temporary files, which are unlinked at once */
struct pgbox_spool *pgbox_spool_init(const char *path_prefix);
/* Streams that were handed out stay valid. */
void pgbox_spool_deinit(struct pgbox_spool **spool);

/* Begin a message. Returns NULL and error text if no file could be made. The
   stream belongs to the spool. */
struct ostream *
pgbox_spool_begin(struct pgbox_spool *spool, const char **error_r);
/* The message is written: returns a seekable stream over its bytes, which the
   caller unreferences. NULL and error text if writing failed. */
struct istream *
pgbox_spool_finish(struct pgbox_spool *spool, const char **error_r);
/* Forget the message that was begun. */
void pgbox_spool_abort(struct pgbox_spool *spool);

#endif
