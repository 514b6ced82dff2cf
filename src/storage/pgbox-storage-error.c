/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "mail-user.h"
#include "mail-storage-private.h"
#include "mailbox-list-private.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-storage-error.h"

#define PGBOX_ERRSTR_UNAVAILABLE \
	"The mail database is unavailable, please try again later"
#define PGBOX_ERRSTR_BUSY \
	"The mailbox is busy, please try again"
#define PGBOX_ERRSTR_INPUT \
	"The server can't store this text"
#define PGBOX_ERRSTR_LIMIT \
	"A limit of the mail store was reached"
/* as Dovecot's quota plugin says it */
#define PGBOX_ERRSTR_QUOTA \
	"Quota exceeded (mailbox for user is full)"

/* How long a complaint isn't repeated: one that is about the database as a
   whole, and that each command would give rise to. */
#define PGBOX_COMPLAINT_USECS (60 * 1000000ULL)

struct rule_error {
	const char *sqlstate;
	enum mail_error error;
	const char *text;
};

/* what our SQL functions raise: mistakes of the user, nothing to log */
static const struct rule_error rule_errors[] = {
	{ "PB002", MAIL_ERROR_NOTFOUND, "Mailbox doesn't exist" },
	{ "PB003", MAIL_ERROR_EXISTS, "Mailbox already exists" },
	{ "PB004", MAIL_ERROR_EXPUNGED, "The message was expunged" },
	{ "PB011", MAIL_ERROR_NOQUOTA, PGBOX_ERRSTR_QUOTA },
	{ "PB006", MAIL_ERROR_NOTPOSSIBLE, "This is not possible" },
	{ "PB007", MAIL_ERROR_EXISTS, "Mailbox has children, delete them first" },
	{ "PB008", MAIL_ERROR_LIMIT, PGBOX_ERRSTR_LIMIT },
};

struct mail_error_text {
	enum mail_error error;
	const char *text;
	/* to be logged with this error */
	bool critical;
};

/* Delivery knows but one error that keeps a mail in the queue: any other one
   makes it try the default mailbox, and an outage would put mails into the
   wrong folder. */
static bool user_is_delivery(struct mail_user *user)
{
	return strcmp(user->service, "lmtp") == 0 ||
		strcmp(user->service, "lda") == 0 ||
		strcmp(user->service, "indexer-worker") == 0;
}

static void
error_get_rule(struct mail_user *user, const struct pgbox_error *error,
	       struct mail_error_text *text_r)
{
	const char *text;

	for (unsigned int i = 0; i < N_ELEMENTS(rule_errors); i++) {
		if (strcmp(rule_errors[i].sqlstate, error->sqlstate) == 0) {
			text_r->error = rule_errors[i].error;
			text_r->text = rule_errors[i].text;
			text_r->critical = FALSE;
			break;
		}
	}
	if (text_r->error == MAIL_ERROR_NOQUOTA) {
		text = mail_user_plugin_getenv(user, "quota_exceeded_message");
		if (text != NULL)
			text_r->text = text;
	}
}

/* Returns TRUE if a complaint of this kind was logged not long ago. */
static bool error_is_old(const struct pgbox_error *error)
{
	static struct {
		uint64_t time_usecs;
		const char *stmt;
	} complaints[PGBOX_ERROR_BUG + 1], *last;
	const uint64_t now = pgbox_clock_usecs();

	switch (error->kind) {
	case PGBOX_ERROR_STANDBY:
	case PGBOX_ERROR_STALE:
	case PGBOX_ERROR_SCHEMA:
	case PGBOX_ERROR_DENIED:
	case PGBOX_ERROR_FULL:
		break;
	default:
		return FALSE;
	}
	last = &complaints[error->kind];
	if (last->time_usecs != 0 && last->stmt == error->stmt &&
	    now - last->time_usecs < PGBOX_COMPLAINT_USECS)
		return TRUE;
	last->time_usecs = now;
	last->stmt = error->stmt;
	return FALSE;
}

static void
error_translate(struct mail_user *user, const struct pgbox_error *error,
		struct mail_error_text *text_r)
{
	bool delivery = user_is_delivery(user);

	text_r->error = MAIL_ERROR_TEMP;
	text_r->text = NULL;
	text_r->critical = !error->logged && !error_is_old(error);

	switch (error->logged ? PGBOX_ERROR_UNREACHABLE : error->kind) {
	case PGBOX_ERROR_UNREACHABLE:
	case PGBOX_ERROR_LOST:
	case PGBOX_ERROR_IN_DOUBT:
	case PGBOX_ERROR_STANDBY:
	case PGBOX_ERROR_STALE:
	case PGBOX_ERROR_SCHEMA:
	case PGBOX_ERROR_DENIED:
	case PGBOX_ERROR_FULL:
		text_r->text = PGBOX_ERRSTR_UNAVAILABLE;
		if (!delivery)
			text_r->error = MAIL_ERROR_UNAVAILABLE;
		break;
	case PGBOX_ERROR_RACE:
	case PGBOX_ERROR_BUSY:
		text_r->text = PGBOX_ERRSTR_BUSY;
		if (!delivery)
			text_r->error = MAIL_ERROR_INUSE;
		break;
	case PGBOX_ERROR_INPUT:
		text_r->text = PGBOX_ERRSTR_INPUT;
		text_r->error = MAIL_ERROR_PARAMS;
		text_r->critical = FALSE;
		break;
	case PGBOX_ERROR_RULE:
		error_get_rule(user, error, text_r);
		break;
	default:
		break;
	}
}

const char *pgbox_storage_error_text(const struct pgbox_error *error)
{
	const char *hint = pgbox_error_hint(error->kind);

	return t_strdup_printf("pgbox: %s%s%s%s%s%s%s%s",
			       error->stmt == NULL ? "" : error->stmt,
			       error->stmt == NULL ? "" : " failed: ",
			       error->text,
			       error->sqlstate[0] == '\0' ? "" : " (SQLSTATE ",
			       error->sqlstate,
			       error->sqlstate[0] == '\0' ? "" : ")",
			       *hint == '\0' ? "" : "; ", hint);
}

void pgbox_mailbox_set_error(struct mailbox *box,
			     const struct pgbox_error *error)
{
	struct mail_error_text text;

	error_translate(box->storage->user, error, &text);
	if (text.error == MAIL_ERROR_NOTFOUND)
		mailbox_set_deleted(box);
	else if (text.text == NULL)
		mailbox_set_critical(box, "%s",
				     pgbox_storage_error_text(error));
	else {
		mail_storage_set_error(box->storage, text.error, text.text);
		if (text.critical) {
			e_error(box->event, "%s",
				pgbox_storage_error_text(error));
		}
	}
}

void pgbox_storage_set_error(struct mail_storage *storage,
			     const struct pgbox_error *error)
{
	struct mail_error_text text;

	error_translate(storage->user, error, &text);
	if (text.text == NULL) {
		mail_storage_set_critical(storage, "%s",
					  pgbox_storage_error_text(error));
	} else {
		mail_storage_set_error(storage, text.error, text.text);
		if (text.critical) {
			e_error(storage->event, "%s",
				pgbox_storage_error_text(error));
		}
	}
}

void pgbox_list_set_error(struct mailbox_list *list,
			  const struct pgbox_error *error)
{
	struct mail_error_text text;

	error_translate(list->ns->user, error, &text);
	if (text.text == NULL) {
		mailbox_list_set_critical(list, "%s",
					  pgbox_storage_error_text(error));
	} else {
		mailbox_list_set_error(list, text.error, text.text);
		if (text.critical) {
			e_error(list->ns->user->event, "%s",
				pgbox_storage_error_text(error));
		}
	}
}
