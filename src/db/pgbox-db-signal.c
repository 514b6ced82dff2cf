#include "lib.h"
#include "guid.h"
#include "strnum.h"
#include "pgbox-db-private.h"
#include "pgbox-db-signal.h"

const char *pgbox_signal_format(const struct pgbox_signal *signal)
{
	return t_strdup_printf("%"PRId64" %"PRIu64" %s", signal->mailbox_id,
			       signal->modseq, signal->account);
}

bool pgbox_signal_parse(const char *text, struct pgbox_signal *signal_r)
{
	i_zero(signal_r);
	if (str_parse_int64(text, &signal_r->mailbox_id, &text) < 0 ||
	    *text++ != ' ' ||
	    str_parse_uint64(text, &signal_r->modseq, &text) < 0 ||
	    *text++ != ' ')
		return FALSE;
	signal_r->account = text;
	return TRUE;
}

struct pgbox_listen *
pgbox_signal_listen_init(const struct pgbox_conn_settings *set,
			 const struct pgbox_listen_callbacks *callbacks,
			 void *context, struct event *parent_event)
{
	return pgbox_listen_init(set, PGBOX_STMT_SIGNAL_LISTEN, callbacks,
				 context, parent_event);
}

void pgbox_signal_send(struct pgbox_listen *listen, const char *const *texts,
		       unsigned int count, pgbox_listen_done_t *done,
		       void *context)
{
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text_array(params, texts, count);
		pgbox_listen_query(listen, PGBOX_STMT_SIGNAL_SEND, params,
				   NULL, done, context);
	} T_END;
}

void pgbox_signal_check(struct pgbox_listen *listen,
			const int64_t *mailbox_ids, unsigned int mailbox_count,
			const char *const *accounts, unsigned int account_count,
			pgbox_listen_row_t *row, pgbox_listen_done_t *done,
			void *context)
{
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64_array(params, mailbox_ids, mailbox_count);
		pgbox_params_text_array(params, accounts, account_count);
		pgbox_listen_query(listen, PGBOX_STMT_SIGNAL_CHECK, params,
				   row, done, context);
	} T_END;
}

void pgbox_signal_check_row(struct pgbox_result *row,
			    struct pgbox_signal_state *state_r)
{
	i_zero(state_r);
	state_r->kind = pgbox_result_int32(row, 0);
	state_r->mailbox_id = pgbox_result_int64(row, 1);
	state_r->modseq = pgbox_result_int64(row, 2);
	state_r->account = pgbox_result_text(row, 3);
}

void pgbox_store_get(struct pgbox_listen *listen, pgbox_listen_row_t *row,
		     pgbox_listen_done_t *done, void *context)
{
	pgbox_listen_query(listen, PGBOX_STMT_STORE_GET, NULL, row, done,
			   context);
}

void pgbox_store_get_row(struct pgbox_result *row, guid_128_t guid_r)
{
	pgbox_result_uuid(row, 0, guid_r);
}
