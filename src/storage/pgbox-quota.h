#ifndef PGBOX_QUOTA_H
#define PGBOX_QUOTA_H

/* Register the backend "pgbox" with Dovecot's quota plugin; does nothing if
   that isn't loaded. */
void pgbox_quota_register(void);
/* Undo it. To be called before the quota plugin goes. */
void pgbox_quota_unregister(void);

#endif
