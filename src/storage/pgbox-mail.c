/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "pgbox-conn.h"
#include "pgbox-commit.h"
#include "pgbox-upload.h"
#include "pgbox-save.h"
#include "pgbox-mail.h"

void pgbox_mail_set_bytes(buffer_t **buf, const void *data, size_t size)
{
	if (*buf == NULL)
		*buf = buffer_create_dynamic(default_pool, I_MAX(size, 1));
	buffer_set_used_size(*buf, 0);
	if (size > 0)
		buffer_append(*buf, data, size);
}

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
	mail->batch = 0;
	buffer_free(&mail->header);
	buffer_free(&mail->head);
}

/* The message that is being saved: its bytes are in the spool, or it is a copy
   and has the bytes of its source. */
struct pgbox_upload_mail *pgbox_mail_get_saving(struct mail *_mail)
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
	if ((mail->data.wanted_fields & MAIL_FETCH_IMAP_ENVELOPE) != 0 &&
	    pgbox_mail_want_envelope(&mail->mail.mail))
		what |= PGBOX_FETCH_ENVELOPE;
	*what_r = what;
	return what != 0 || mail_want_row(mail);
}

/* With nothing queued the caller takes this mail at once, so its bytes may be read
   already. Else it waits for those that are, and so does memory. */
static bool mail_is_here(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);

	return array_count(&mbox->fetch_queue) == 0 ?
		pgbox_fetch_have(mail, what) : pgbox_content_has(mail, what);
}

static bool pgbox_mail_prefetch(struct mail *_mail)
{
	struct pgbox_mail *mail = PGBOX_MAIL(_mail);
	enum pgbox_fetch_what what;

	if (_mail->saving || _mail->expunged ||
	    !mail_get_wanted(&mail->imail, &what))
		return TRUE;
	if (what != 0 && !mail_want_row(&mail->imail) &&
	    mail_is_here(mail, what))
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

int pgbox_mail_need_row(struct mail *_mail)
{
	/* what came along with another mail is here as if it were cached */
	if (!_mail->expunged && pgbox_fetch_row_from_ahead(PGBOX_MAIL(_mail)))
		return 0;
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
	if (pgbox_mail_need_row(_mail) < 0)
		return -1;
	*date_r = mail->data.received_date;
	return 0;
}

static int pgbox_mail_get_save_date(struct mail *_mail, time_t *date_r)
{
	struct index_mail *mail = INDEX_MAIL(_mail);

	if (index_mail_get_save_date(_mail, date_r) > 0)
		return 1;
	if (_mail->saving || pgbox_mail_need_row(_mail) < 0)
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
		if (src != NULL && pgbox_mail_get_saving(_mail)->input == NULL)
			return mail_get_virtual_size(src, size_r);
		return index_mail_get_virtual_size(_mail, size_r);
	}
	if (pgbox_mail_need_row(_mail) < 0)
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
	if (pgbox_mail_need_row(_mail) < 0)
		return -1;
	*size_r = mail->data.physical_size;
	return 0;
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

/* dsync would raise it to that of another store. Here the database gives
   modseqs, the same for all nodes; dsync sees that they differ and goes on. */
static void pgbox_mail_update_modseq(struct mail *mail ATTR_UNUSED,
				     uint64_t min_modseq ATTR_UNUSED)
{
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
	.update_modseq = pgbox_mail_update_modseq,
	.update_pvt_modseq = index_mail_update_pvt_modseq,
	.update_pop3_uidl = NULL,
	.expunge = index_mail_expunge,
	.set_cache_corrupted = index_mail_set_cache_corrupted,
	.istream_opened = index_mail_opened,
};
