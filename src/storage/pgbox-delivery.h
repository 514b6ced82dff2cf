#ifndef PGBOX_DELIVERY_H
#define PGBOX_DELIVERY_H

struct pgbox_content;
struct pgbox_save_context;

/* The message that was just saved is a delivery over LMTP: name the upload
   after what is the same when the MTA delivers it again. Does nothing if it
   can't be told from another message, or isn't a delivery. */
void pgbox_delivery_set_saved(struct pgbox_save_context *ctx);
/* The same for a message that is copied from one that this process has just
   delivered to another recipient. */
void pgbox_delivery_set_copied(struct pgbox_save_context *ctx,
			       struct mail *mail);
/* The upload was committed, its message has this UID. */
void pgbox_delivery_remember(struct pgbox_mailbox *mbox,
			     const struct pgbox_upload *upload, uint32_t uid);

#endif
