#include "lib.h"
#include "array.h"
#include "guid.h"
#include "pgbox-db-change.h"
#include "pgbox-db-content.h"
#include "pgbox-db-content-private.h"
#include "pgbox-db-private.h"
#include "pgbox-error.h"

/* The flags of a copy are a guess, see message_append() */
#define APPEND_FLAGS_AS_SOURCE 256

/* The answer of message-save, and what message-append and commit-claim begin
   with */
static void append_row(struct pgbox_result *row, void *context)
{
	struct pgbox_change_result *result = context;

	result->prev_modseq = pgbox_result_int64(row, 0);
	result->modseq = pgbox_result_int64(row, 1);
	array_clear(&result->uids);
	T_BEGIN {
		unsigned int i, count;
		const int64_t *uids = pgbox_result_int64_array(row, 2, &count);

		for (i = 0; i < count; i++) {
			const uint32_t uid = uids[i];
			array_push_back(&result->uids, &uid);
		}
	} T_END;
}

static void append_copies_row(struct pgbox_result *row, void *context)
{
	struct pgbox_change_result *result = context;

	append_row(row, result);
	result->copies_differ = pgbox_result_bool(row, 3);
}

/* The token doesn't keep what became of copies. */
static void append_claim_row(struct pgbox_result *row, void *context)
{
	struct pgbox_change_result *result = context;

	append_row(row, result);
	result->copies_differ = TRUE;
}

/* Bind a bigint[] made of one member of each append. */
#define append_params_member(params, appends, count, member) STMT_START { \
	int64_t *_values = i_new(int64_t, (count) + 1); \
	for (unsigned int _i = 0; _i < (count); _i++) \
		_values[_i] = (appends)[_i].member; \
	pgbox_params_int64_array(params, _values, count); \
	i_free(_values); \
} STMT_END

/* What and from where: guids, contents, source_mailboxes, source_uids, moves */
static void append_params_what(struct pgbox_params *params,
			       const struct pgbox_append *appends,
			       unsigned int count)
{
	guid_128_t *guids = i_new(guid_128_t, count + 1);
	int64_t *contents = i_new(int64_t, count + 1);
	bool *moves = i_new(bool, count + 1);
	unsigned int i;

	for (i = 0; i < count; i++) {
		guid_128_copy(guids[i], appends[i].guid);
		contents[i] = appends[i].content_id;
		moves[i] = appends[i].move;
	}
	pgbox_params_uuid_array(params, guids, count);
	/* those to be copied have no content_id: SQL NULL */
	pgbox_params_id_array(params, contents, count);
	append_params_member(params, appends, count, source_mailbox_id);
	append_params_member(params, appends, count, source_uid);
	pgbox_params_bool_array(params, moves, count);
	i_free(guids);
	i_free(contents);
	i_free(moves);
}

/* How: received, saved, flags, keywords, pop3_uidls, pop3_orders */
static void append_params_how(struct pgbox_params *params,
			      const struct pgbox_append *appends,
			      unsigned int count)
{
	int16_t *flags = i_new(int16_t, count + 1);
	const char **keywords = i_new(const char *, count + 1);
	const char **pop3_uidls = i_new(const char *, count + 1);
	int64_t *pop3_orders = i_new(int64_t, count + 1);
	unsigned int i;

	for (i = 0; i < count; i++) {
		flags[i] = appends[i].flags;
		if (appends[i].as_source)
			flags[i] |= APPEND_FLAGS_AS_SOURCE;
		keywords[i] = appends[i].keywords;
		pop3_uidls[i] = appends[i].pop3_uidl;
		pop3_orders[i] = appends[i].pop3_order;
	}
	append_params_member(params, appends, count, received);
	append_params_member(params, appends, count, saved);
	pgbox_params_int16_array(params, flags, count);
	pgbox_params_text_array(params, keywords, count);
	pgbox_params_text_array(params, pop3_uidls, count);
	pgbox_params_id_array(params, pop3_orders, count);
	i_free(flags);
	i_free(keywords);
	i_free(pop3_uidls);
	i_free(pop3_orders);
}

/* The first parameters of message-append and message-save */
static void append_params_begin(struct pgbox_params *params,
				int64_t mailbox_id, const guid_128_t token,
				const char *reason, uint64_t min_modseq)
{
	pgbox_params_int64(params, mailbox_id);
	pgbox_params_uuid(params, token);
	pgbox_params_text(params, reason);
	pgbox_db_params_uint64(params, min_modseq);
}

int pgbox_message_append(struct pgbox_conn *conn,
			 struct pgbox_pipeline *pipeline, int64_t mailbox_id,
			 const guid_128_t token, const char *reason,
			 uint64_t min_modseq,
			 const ARRAY_TYPE(pgbox_append) *appends,
			 struct pgbox_change_result *result,
			 struct pgbox_error *error_r)
{
	const struct pgbox_db_target target = {
		.conn = conn,
		.pipeline = pipeline,
	};
	unsigned int count;
	const struct pgbox_append *append = array_get(appends, &count);
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		append_params_begin(params, mailbox_id, token, reason,
				    min_modseq);
		append_params_member(params, append, count, uid);
		append_params_what(params, append, count);
		append_params_how(params, append, count);
		ret = pgbox_db_send(&target, PGBOX_STMT_MESSAGE_APPEND, params,
				    append_copies_row, result, error_r);
	} T_END;
	return ret;
}

int pgbox_message_save(struct pgbox_conn *conn, int64_t mailbox_id,
		       const guid_128_t token, const char *reason,
		       uint64_t min_modseq, const struct pgbox_append *append,
		       const struct pgbox_content *content,
		       struct pgbox_change_result *result,
		       struct pgbox_error *error_r)
{
	struct pgbox_piece head;
	int ret;

	i_assert(content->body_size <= PGBOX_CHUNK_SIZE);
	pgbox_content_piece_init(&head, content);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		append_params_begin(params, mailbox_id, token, reason,
				    min_modseq);
		pgbox_params_int64(params, append->uid);
		pgbox_params_uuid(params, append->guid);
		pgbox_params_int64(params, append->received);
		pgbox_params_int64(params, append->saved);
		pgbox_params_int16(params, append->flags);
		pgbox_params_text(params, append->keywords);
		pgbox_params_text(params, append->pop3_uidl);
		pgbox_db_params_nonzero(params, append->pop3_order);
		pgbox_content_params(params, content, &head);
		ret = pgbox_db_query(conn, PGBOX_STMT_MESSAGE_SAVE, params, 0,
				     append_row, result, error_r);
	} T_END;
	pgbox_piece_deinit(&head);
	return ret < 0 ? -1 : 0;
}

int pgbox_commit_claim(struct pgbox_conn *conn, const guid_128_t token,
		       struct pgbox_change_result *result,
		       struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_uuid(params, token);
		ret = pgbox_db_query(conn, PGBOX_STMT_COMMIT_CLAIM, params,
				     PGBOX_EXEC_REPEATABLE, append_claim_row,
				     result, error_r);
	} T_END;
	return ret;
}
