#include "lib.h"
#include "array.h"
#include "guid.h"
#include "pgbox-conn.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-db-private.h"
#include "pgbox-error.h"

/* A GUID that isn't given is chosen by the server. */
static void mailbox_params_guid(struct pgbox_params *params,
				const uint8_t *guid)
{
	if (guid == NULL || guid_128_is_empty(guid))
		pgbox_params_null(params);
	else
		pgbox_params_uuid(params, guid);
}

int pgbox_mailbox_create(struct pgbox_conn *conn, const char *account,
			 const char *name, bool selectable,
			 const guid_128_t guid, uint32_t uidvalidity,
			 struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		pgbox_params_text(params, name);
		pgbox_params_bool(params, selectable);
		mailbox_params_guid(params, guid);
		pgbox_db_params_nonzero(params, uidvalidity);
		/* special_use: none */
		pgbox_params_null(params);
		ret = pgbox_db_query(conn, PGBOX_STMT_MAILBOX_CREATE, params,
				     0, NULL, NULL, error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

int pgbox_mailbox_delete(struct pgbox_conn *conn, const char *account,
			 int64_t mailbox_id, const char *reason,
			 struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		pgbox_params_int64(params, mailbox_id);
		pgbox_params_text(params, reason);
		ret = pgbox_db_query(conn, PGBOX_STMT_MAILBOX_DELETE, params,
				     0, NULL, NULL, error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

int pgbox_mailbox_delete_node(struct pgbox_conn *conn, const char *account,
			      const char *name, const char *reason,
			      struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		pgbox_params_text(params, name);
		pgbox_params_text(params, reason);
		ret = pgbox_db_query(conn, PGBOX_STMT_MAILBOX_DELETE_NODE,
				     params, 0, NULL, NULL, error_r);
	} T_END;
	return ret;
}

int pgbox_mailbox_rename(struct pgbox_conn *conn, const char *account,
			 const char *old_name, const char *new_name,
			 const char *reason, struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		pgbox_params_text(params, old_name);
		pgbox_params_text(params, new_name);
		pgbox_params_text(params, reason);
		ret = pgbox_db_query(conn, PGBOX_STMT_MAILBOX_RENAME, params,
				     0, NULL, NULL, error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

int pgbox_mailbox_update(struct pgbox_conn *conn, const char *account,
			 int64_t mailbox_id,
			 const struct pgbox_mailbox_changes *changes,
			 struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		pgbox_params_int64(params, mailbox_id);
		pgbox_db_params_nonzero(params, changes->uidvalidity);
		mailbox_params_guid(params, changes->guid);
		pgbox_db_params_nonzero(params, changes->min_uid_next);
		pgbox_db_params_nonzero(params, changes->min_first_recent_uid);
		pgbox_db_params_nonzero(params, I_MIN(changes->min_modseq,
						      INT64_MAX));
		/* done twice it takes one modseq more, which does no harm */
		ret = pgbox_db_query(conn, PGBOX_STMT_MAILBOX_UPDATE, params,
				     PGBOX_EXEC_REPEATABLE, NULL, NULL,
				     error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

static void mailbox_subscription_row(struct pgbox_result *result,
				     void *context)
{
	bool *changed = context;

	*changed = pgbox_result_bool(result, 0);
}

int pgbox_subscription_set(struct pgbox_conn *conn, const char *account,
			   const char *name, bool subscribed,
			   struct pgbox_error *error_r)
{
	bool changed = FALSE;
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		pgbox_params_text(params, name);
		pgbox_params_bool(params, subscribed);
		/* done twice it says that nothing changed: better than not to
		   know what the subscription is */
		ret = pgbox_db_query(conn, PGBOX_STMT_SUBSCRIPTION_SET, params,
				     PGBOX_EXEC_REPEATABLE,
				     mailbox_subscription_row, &changed,
				     error_r);
	} T_END;
	return ret < 0 ? -1 : (changed ? 1 : 0);
}

static void mailbox_recent_row(struct pgbox_result *result, void *context)
{
	uint32_t *first_recent_uid = context;

	*first_recent_uid = pgbox_db_result_uint32(result, 0);
}

int pgbox_recent_claim(struct pgbox_conn *conn, int64_t mailbox_id,
		       uint32_t uid_next, uint32_t *first_recent_uid_r,
		       struct pgbox_error *error_r)
{
	int ret;

	*first_recent_uid_r = uid_next;
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64(params, mailbox_id);
		pgbox_params_int64(params, uid_next);
		/* done twice nobody gets \Recent: better than a mailbox that
		   can't be opened */
		ret = pgbox_db_query(conn, PGBOX_STMT_RECENT_CLAIM, params,
				     PGBOX_EXEC_REPEATABLE, mailbox_recent_row,
				     first_recent_uid_r, error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

static int64_t mailbox_quota_limit(struct pgbox_result *result,
				   unsigned int col)
{
	return pgbox_result_is_null(result, col) ? -1 :
		pgbox_result_int64(result, col);
}

static void mailbox_quota_row(struct pgbox_result *result, void *context)
{
	struct pgbox_quota *quota = context;

	quota->messages = pgbox_result_int64(result, 0);
	quota->bytes = pgbox_result_int64(result, 1);
	quota->limited = pgbox_result_bool(result, 2);
	quota->message_limit = mailbox_quota_limit(result, 3);
	quota->byte_limit = mailbox_quota_limit(result, 4);
}

int pgbox_quota_get(struct pgbox_conn *conn, const char *account,
		    struct pgbox_quota *quota_r, struct pgbox_error *error_r)
{
	int ret;

	i_zero(quota_r);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		ret = pgbox_db_query(conn, PGBOX_STMT_QUOTA_GET, params,
				     PGBOX_EXEC_REPEATABLE, mailbox_quota_row,
				     quota_r, error_r);
	} T_END;
	return ret;
}

void pgbox_schema_set_check(struct pgbox_conn_settings *set)
{
	set->check = TRUE;
	set->check_stmt = PGBOX_STMT_LINK_CHECK;
}
