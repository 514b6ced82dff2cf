/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "istream.h"
#include "str.h"
#include "imap-bodystructure.h"
#include "message-part-data.h"
#include "mail-index-modseq.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-commit.h"
#include "pgbox-upload.h"
#include "pgbox-save.h"
#include "pgbox-mail.h"

/* What can be had of a message without reading its bytes. */
#define PGBOX_ROW_FIELDS \
	(MAIL_FETCH_RECEIVED_DATE | MAIL_FETCH_SAVE_DATE | \
	 MAIL_FETCH_PHYSICAL_SIZE | MAIL_FETCH_VIRTUAL_SIZE | \
	 MAIL_FETCH_GUID | MAIL_FETCH_UIDL_BACKEND | MAIL_FETCH_POP3_ORDER | \
	 MAIL_FETCH_REFCOUNT_ID | MAIL_FETCH_STORAGE_ID)

struct mail *
pgbox_mail_alloc(struct mailbox_transaction_context *t,
		 enum mail_fetch_field wanted_fields,
		 struct mailbox_header_lookup_ctx *wanted_headers)
{
	struct pgbox_mail *mail;
	pool_t pool;

	pool = pool_alloconly_create("mail", 2048);
	mail = p_new(pool, struct pgbox_mail, 1);
	index_mail_init(&mail->imail, t, wanted_fields, wanted_headers, pool,
			NULL);
	return &mail->imail.mail.mail;
}

static void pgbox_mail_close(struct mail *_mail)
{
	struct pgbox_mail *mail = PGBOX_MAIL(_mail);

	pgbox_fetch_dequeue(mail);
	index_mail_close(_mail);
	mail->have_row = FALSE;
	mail->have = 0;
	buffer_free(&mail->header);
	buffer_free(&mail->head);
}

/* The message that is being saved: its bytes are in the spool, or it is a copy
   and has the bytes of its source. */
static struct pgbox_upload_mail *mail_get_saving(struct mail *_mail)
{
	struct mail_save_context *save_ctx = _mail->transaction->save_ctx;

	if (save_ctx == NULL)
		return NULL;
	return PGBOX_SAVECTX(save_ctx)->mail;
}

/*
 * Prefetch
 */

static bool mail_is_field_cached(struct index_mail *mail,
				 enum index_cache_field field)
{
	struct mail *_mail = &mail->mail.mail;

	return mail_cache_field_exists(_mail->transaction->cache_view,
				       _mail->seq,
				       mail->ibox->cache_fields[field].idx) > 0;
}

static bool mail_are_headers_cached(struct index_mail *mail)
{
	struct mailbox_header_lookup_ctx *headers = mail->data.wanted_headers;
	struct mail *_mail = &mail->mail.mail;
	unsigned int i;

	for (i = 0; headers != NULL && i < headers->count; i++) {
		if (mail_cache_field_exists(_mail->transaction->cache_view,
					    _mail->seq, headers->idx[i]) <= 0)
			return FALSE;
	}
	return TRUE;
}

static bool mail_want_structure(struct index_mail *mail)
{
	enum mail_fetch_field fields = mail->data.wanted_fields;

	if ((fields & MAIL_FETCH_IMAP_ENVELOPE) != 0 &&
	    !mail_is_field_cached(mail, MAIL_CACHE_IMAP_ENVELOPE))
		return TRUE;
	return (fields & (MAIL_FETCH_IMAP_BODY |
			  MAIL_FETCH_IMAP_BODYSTRUCTURE)) != 0 &&
		!mail_is_field_cached(mail, MAIL_CACHE_IMAP_BODYSTRUCTURE) &&
		!mail_is_field_cached(mail, MAIL_CACHE_IMAP_BODY) &&
		!mail_is_field_cached(mail, MAIL_CACHE_MESSAGE_PARTS);
}

static bool mail_want_row(struct index_mail *mail)
{
	static const struct {
		enum mail_fetch_field fetch;
		enum index_cache_field cache;
	} fields[] = {
		{ MAIL_FETCH_RECEIVED_DATE, MAIL_CACHE_RECEIVED_DATE },
		{ MAIL_FETCH_SAVE_DATE, MAIL_CACHE_SAVE_DATE },
		{ MAIL_FETCH_PHYSICAL_SIZE, MAIL_CACHE_PHYSICAL_FULL_SIZE },
		{ MAIL_FETCH_VIRTUAL_SIZE, MAIL_CACHE_VIRTUAL_FULL_SIZE },
	};

	for (unsigned int i = 0; i < N_ELEMENTS(fields); i++) {
		if ((mail->data.wanted_fields & fields[i].fetch) != 0 &&
		    !mail_is_field_cached(mail, fields[i].cache))
			return TRUE;
	}
	return (mail->data.wanted_fields & (MAIL_FETCH_GUID |
					    MAIL_FETCH_REFCOUNT_ID |
					    MAIL_FETCH_STORAGE_ID)) != 0;
}

/* Returns FALSE if nothing of the message is needed from the database. */
static bool
mail_get_wanted(struct index_mail *mail, enum pgbox_fetch_what *what_r)
{
	enum pgbox_fetch_what what = 0;

	if ((mail->data.access_part & (READ_BODY | PARSE_BODY)) != 0)
		what |= PGBOX_FETCH_HEADER | PGBOX_FETCH_BODY;
	else if ((mail->data.access_part & (READ_HDR | PARSE_HDR)) != 0 ||
		 !mail_are_headers_cached(mail))
		what |= PGBOX_FETCH_HEADER;
	if (mail_want_structure(mail))
		what |= PGBOX_FETCH_STRUCTURE;
	*what_r = what;
	return what != 0 || mail_want_row(mail);
}

static bool pgbox_mail_prefetch(struct mail *_mail)
{
	struct pgbox_mail *mail = PGBOX_MAIL(_mail);
	enum pgbox_fetch_what what;

	if (_mail->saving || _mail->expunged ||
	    !mail_get_wanted(&mail->imail, &what))
		return TRUE;
	pgbox_fetch_queue(mail, what);
	return FALSE;
}

static int pgbox_mail_precache(struct mail *_mail)
{
	(void)pgbox_mail_prefetch(_mail);
	return index_mail_precache(_mail);
}

/*
 * Dates and sizes
 */

static int mail_need_row(struct mail *_mail)
{
	if (!mail_metadata_access_start(_mail))
		return -1;
	if (_mail->expunged) {
		mail_set_expunged(_mail);
		return -1;
	}
	return pgbox_fetch(PGBOX_MAIL(_mail), 0);
}

static int pgbox_mail_get_received_date(struct mail *_mail, time_t *date_r)
{
	struct index_mail *mail = INDEX_MAIL(_mail);

	if (index_mail_get_received_date(_mail, date_r) == 0)
		return 0;
	if (_mail->saving) {
		struct mail *src = _mail->transaction->save_ctx->copy_src_mail;

		return src == NULL ? -1 : mail_get_received_date(src, date_r);
	}
	if (mail_need_row(_mail) < 0)
		return -1;
	*date_r = mail->data.received_date;
	return 0;
}

static int pgbox_mail_get_save_date(struct mail *_mail, time_t *date_r)
{
	struct index_mail *mail = INDEX_MAIL(_mail);

	if (index_mail_get_save_date(_mail, date_r) > 0)
		return 1;
	if (_mail->saving || mail_need_row(_mail) < 0)
		return -1;
	*date_r = mail->data.save_date;
	return 1;
}

static int pgbox_mail_get_virtual_size(struct mail *_mail, uoff_t *size_r)
{
	struct index_mail *mail = INDEX_MAIL(_mail);
	struct mail *src;

	if (index_mail_get_cached_virtual_size(mail, size_r))
		return 0;
	if (_mail->saving) {
		src = _mail->transaction->save_ctx->copy_src_mail;
		if (src != NULL && mail_get_saving(_mail)->input == NULL)
			return mail_get_virtual_size(src, size_r);
		return index_mail_get_virtual_size(_mail, size_r);
	}
	if (mail_need_row(_mail) < 0)
		return -1;
	*size_r = mail->data.virtual_size;
	return 0;
}

static int pgbox_mail_get_physical_size(struct mail *_mail, uoff_t *size_r)
{
	struct index_mail *mail = INDEX_MAIL(_mail);
	struct mail *src;

	if (index_mail_get_physical_size(_mail, size_r) == 0)
		return 0;
	if (_mail->saving) {
		src = _mail->transaction->save_ctx->copy_src_mail;
		return src == NULL ? -1 : mail_get_physical_size(src, size_r);
	}
	if (mail_need_row(_mail) < 0)
		return -1;
	*size_r = mail->data.physical_size;
	return 0;
}

/*
 * Streams
 */

static bool
mail_is_header_enough(struct pgbox_mail *mail, bool get_body)
{
	struct index_mail_data *data = &mail->imail.data;

	/* whoever parses the body does so through a header stream too */
	return !get_body &&
		(data->access_part & (READ_BODY | PARSE_BODY)) == 0 &&
		!data->save_bodystructure_body && !data->save_message_parts &&
		!data->save_body_snippet;
}

static struct istream *
mail_open_stream(struct pgbox_mail *mail, bool header_only)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);
	struct istream *input;

	if (header_only) {
		input = i_stream_create_copy_from_data(mail->header->data,
						       mail->header->used);
	} else {
		input = pgbox_body_stream_create(mbox->storage->conn,
			mail->header->data, mail->header->used,
			mail->head->data, mail->head->used,
			mail->row.body_id, mail->row.body_size, NULL);
		/* the stream has its own copy */
		buffer_free(&mail->head);
		mail->have &= ENUM_NEGATE(PGBOX_FETCH_BODY);
	}
	i_stream_set_name(input, t_strdup_printf("%s UID %u", mbox->box.vname,
						 mail->imail.mail.mail.uid));
	return input;
}

static struct istream *mail_open_saving(struct mail *_mail)
{
	struct pgbox_upload_mail *saving = mail_get_saving(_mail);
	struct istream *input;

	if (saving == NULL || saving->input == NULL)
		return NULL;
	i_stream_seek(saving->input, 0);
	input = i_stream_create_limit(saving->input, UOFF_T_MAX);
	return input;
}

static int
mail_fetch_stream(struct pgbox_mail *mail, bool get_body,
		  struct istream **stream_r)
{
	struct mail *_mail = &mail->imail.mail.mail;
	bool header_only = mail_is_header_enough(mail, get_body);

	if (_mail->saving) {
		*stream_r = mail_open_saving(_mail);
		return *stream_r == NULL ? -1 : 0;
	}
	if (_mail->expunged) {
		mail_set_expunged(_mail);
		return -1;
	}
	if (pgbox_fetch(mail, header_only ? PGBOX_FETCH_HEADER :
			PGBOX_FETCH_HEADER | PGBOX_FETCH_BODY) < 0)
		return -1;
	if (header_only && mail->row.header_size < 0) {
		/* it isn't apart from the body */
		header_only = FALSE;
		if (pgbox_fetch(mail, PGBOX_FETCH_HEADER |
				PGBOX_FETCH_BODY) < 0)
			return -1;
	}
	mail->imail.data.stream_has_only_header = header_only;
	*stream_r = mail_open_stream(mail, header_only);
	return 0;
}

static int
pgbox_mail_get_stream(struct mail *_mail, bool get_body,
		      struct message_size *hdr_size,
		      struct message_size *body_size,
		      struct istream **stream_r)
{
	struct pgbox_mail *mail = PGBOX_MAIL(_mail);
	struct index_mail_data *data = &mail->imail.data;
	struct istream *input;

	if (data->stream != NULL && data->stream_has_only_header &&
	    !mail_is_header_enough(mail, get_body))
		index_mail_close_streams(&mail->imail);

	if (data->stream == NULL) {
		if (!mail_stream_access_start(_mail) ||
		    mail_fetch_stream(mail, get_body, &input) < 0)
			return -1;
		data->stream = input;
		index_mail_set_read_buffer_size(_mail, data->stream);
		if (mail->imail.mail.v.istream_opened != NULL &&
		    mail->imail.mail.v.istream_opened(_mail,
						      &data->stream) < 0) {
			i_stream_unref(&data->stream);
			return -1;
		}
	}
	return index_mail_init_stream(&mail->imail, hdr_size, body_size,
				      stream_r);
}

/*
 * Special fields
 */

/* Returns 1 if the stored structure has the field, 0 if not, -1 on error. */
static int
mail_get_structure(struct mail *_mail, enum mail_fetch_field field,
		   const char **value_r)
{
	struct pgbox_mail *mail = PGBOX_MAIL(_mail);
	struct index_mail_data *data = &mail->imail.data;
	const char *error;
	string_t *str;

	if (_mail->saving)
		return 0;
	if ((mail->have & PGBOX_FETCH_STRUCTURE) == 0) {
		if (!mail_metadata_access_start(_mail) ||
		    pgbox_fetch(mail, PGBOX_FETCH_STRUCTURE) < 0)
			return -1;
	}
	switch (field) {
	case MAIL_FETCH_IMAP_ENVELOPE:
		*value_r = data->envelope;
		break;
	case MAIL_FETCH_IMAP_BODYSTRUCTURE:
		*value_r = data->bodystructure;
		break;
	default:
		i_assert(field == MAIL_FETCH_IMAP_BODY);
		if (data->bodystructure == NULL)
			return 0;
		str = str_new(mail->imail.mail.data_pool, 128);
		if (imap_body_parse_from_bodystructure(data->bodystructure,
						       str, &error) < 0)
			return 0;
		data->body = str_c(str);
		*value_r = data->body;
		break;
	}
	return *value_r == NULL ? 0 : 1;
}

static bool
mail_get_cached_structure(struct mail *_mail, enum mail_fetch_field field,
			  const char **value_r)
{
	struct index_mail *mail = INDEX_MAIL(_mail);
	string_t *str;

	switch (field) {
	case MAIL_FETCH_IMAP_BODY:
		return index_mail_get_cached_body(mail, value_r);
	case MAIL_FETCH_IMAP_BODYSTRUCTURE:
		return index_mail_get_cached_bodystructure(mail, value_r);
	default:
		break;
	}
	if (mail->data.envelope == NULL) {
		str = str_new(mail->mail.data_pool, 256);
		if (index_mail_cache_lookup_field(mail, str,
			mail->ibox->cache_fields[MAIL_CACHE_IMAP_ENVELOPE].idx) <= 0)
			return FALSE;
		mail->data.envelope = str_c(str);
	}
	*value_r = mail->data.envelope;
	return TRUE;
}

static int
mail_get_special_structure(struct mail *_mail, enum mail_fetch_field field,
			   const char **value_r)
{
	int ret;

	if (mail_get_cached_structure(_mail, field, value_r))
		return 0;
	ret = mail_get_structure(_mail, field, value_r);
	if (ret != 0)
		return ret < 0 ? -1 : 0;
	/* saved without it: parse the message */
	return index_mail_get_special(_mail, field, value_r);
}

static int
mail_get_special_row(struct mail *_mail, enum mail_fetch_field field,
		     const char **value_r)
{
	struct pgbox_mail *mail = PGBOX_MAIL(_mail);
	pool_t pool = mail->imail.mail.data_pool;

	if (_mail->saving) {
		struct pgbox_upload_mail *saving = mail_get_saving(_mail);

		*value_r = field != MAIL_FETCH_GUID || saving == NULL ||
			saving->input == NULL ? "" :
			p_strdup(pool, guid_128_to_string(saving->append.guid));
		return 0;
	}
	if (field == MAIL_FETCH_GUID && mail->imail.data.guid != NULL) {
		*value_r = mail->imail.data.guid;
		return 0;
	}
	if (mail_need_row(_mail) < 0)
		return -1;
	switch (field) {
	case MAIL_FETCH_GUID:
		*value_r = mail->imail.data.guid;
		break;
	case MAIL_FETCH_UIDL_BACKEND:
		*value_r = mail->row.pop3_uidl == NULL ? "" :
			mail->row.pop3_uidl;
		break;
	case MAIL_FETCH_POP3_ORDER:
		*value_r = mail->row.pop3_order == 0 ? "" :
			p_strdup_printf(pool, "%u", mail->row.pop3_order);
		break;
	default:
		/* messages with the same content share it */
		*value_r = p_strdup_printf(pool, "%"PRId64,
					   mail->row.content_id);
		break;
	}
	return 0;
}

static int
pgbox_mail_get_special(struct mail *_mail, enum mail_fetch_field field,
		       const char **value_r)
{
	switch (field) {
	case MAIL_FETCH_IMAP_BODY:
	case MAIL_FETCH_IMAP_BODYSTRUCTURE:
	case MAIL_FETCH_IMAP_ENVELOPE:
		return mail_get_special_structure(_mail, field, value_r);
	case MAIL_FETCH_GUID:
	case MAIL_FETCH_UIDL_BACKEND:
	case MAIL_FETCH_POP3_ORDER:
	case MAIL_FETCH_REFCOUNT_ID:
	case MAIL_FETCH_STORAGE_ID:
		return mail_get_special_row(_mail, field, value_r);
	default:
		return index_mail_get_special(_mail, field, value_r);
	}
}

/*
 * Changes
 */

static void
pgbox_mail_update_keywords(struct mail *_mail, enum modify_type modify_type,
			   struct mail_keywords *keywords)
{
	struct pgbox_transaction *pt = PGBOX_TRANSACTION(_mail->transaction);

	/* The index transaction turns a replacement into what it adds and
	   removes here. The database is to replace what there is by then. */
	if (modify_type == MODIFY_REPLACE)
		seq_range_array_add(&pt->keywords_replaced, _mail->seq);
	index_mail_update_keywords(_mail, modify_type, keywords);
}

struct mail_vfuncs pgbox_mail_vfuncs = {
	.close = pgbox_mail_close,
	.free = index_mail_free,
	.set_seq = index_mail_set_seq,
	.set_uid = index_mail_set_uid,
	.set_uid_cache_updates = index_mail_set_uid_cache_updates,
	.prefetch = pgbox_mail_prefetch,
	.precache = pgbox_mail_precache,
	.add_temp_wanted_fields = index_mail_add_temp_wanted_fields,
	.get_flags = index_mail_get_flags,
	.get_keywords = index_mail_get_keywords,
	.get_keyword_indexes = index_mail_get_keyword_indexes,
	.get_modseq = index_mail_get_modseq,
	.get_pvt_modseq = index_mail_get_pvt_modseq,
	.get_parts = index_mail_get_parts,
	.get_date = index_mail_get_date,
	.get_received_date = pgbox_mail_get_received_date,
	.get_save_date = pgbox_mail_get_save_date,
	.get_virtual_size = pgbox_mail_get_virtual_size,
	.get_physical_size = pgbox_mail_get_physical_size,
	.get_first_header = index_mail_get_first_header,
	.get_headers = index_mail_get_headers,
	.get_header_stream = index_mail_get_header_stream,
	.get_stream = pgbox_mail_get_stream,
	.get_binary_stream = index_mail_get_binary_stream,
	.get_special = pgbox_mail_get_special,
	.get_backend_mail = index_mail_get_backend_mail,
	.update_flags = index_mail_update_flags,
	.update_keywords = pgbox_mail_update_keywords,
	.update_modseq = index_mail_update_modseq,
	.update_pvt_modseq = index_mail_update_pvt_modseq,
	.update_pop3_uidl = NULL,
	.expunge = index_mail_expunge,
	.set_cache_corrupted = index_mail_set_cache_corrupted,
	.istream_opened = index_mail_opened,
};
