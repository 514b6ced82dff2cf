/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "str.h"
#include "guid.h"
#include "imap-bodystructure.h"
#include "pgbox-conn.h"
#include "pgbox-upload.h"
#include "pgbox-mail.h"

/*
 * BODY, BODYSTRUCTURE
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
	if (data->bodystructure == NULL)
		return 0;
	if (field == MAIL_FETCH_IMAP_BODYSTRUCTURE) {
		*value_r = data->bodystructure;
		return 1;
	}
	str = str_new(mail->imail.mail.data_pool, 128);
	if (imap_body_parse_from_bodystructure(data->bodystructure, str,
					       &error) < 0)
		return 0;
	data->body = str_c(str);
	*value_r = data->body;
	return 1;
}

static bool
mail_get_cached_structure(struct mail *_mail, enum mail_fetch_field field,
			  const char **value_r)
{
	struct index_mail *mail = INDEX_MAIL(_mail);

	return field == MAIL_FETCH_IMAP_BODY ?
		index_mail_get_cached_body(mail, value_r) :
		index_mail_get_cached_bodystructure(mail, value_r);
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

/*
 * ENVELOPE
 */

/* Dovecot caches headers and makes the ENVELOPE of them, its own field for it is
   switched off by default (mail_never_cache_fields). Here it comes from the
   database without headers, so it is a field of ours. */
void pgbox_mail_special_open(struct pgbox_mailbox *mbox)
{
	struct mail_cache_field field = {
		.name = "pgbox.envelope",
		.type = MAIL_CACHE_FIELD_STRING,
		.decision = MAIL_CACHE_DECISION_TEMP,
	};

	mail_cache_register_fields(mbox->box.cache, &field, 1);
	mbox->envelope_field = field.idx;
}

bool pgbox_mail_want_envelope(struct mail *_mail)
{
	struct mail_cache_view *view = _mail->transaction->cache_view;
	struct index_mail *mail = INDEX_MAIL(_mail);
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(_mail->box);
	const unsigned int dovecots =
		mail->ibox->cache_fields[MAIL_CACHE_IMAP_ENVELOPE].idx;
	unsigned int idx;

	if (mail->data.envelope != NULL ||
	    mail_cache_field_exists(view, _mail->seq,
				    mbox->envelope_field) > 0 ||
	    mail_cache_field_exists(view, _mail->seq, dovecots) > 0)
		return FALSE;
	/* as index-mail does: if this one is there, so are the others */
	idx = mail_cache_register_lookup(_mail->box->cache, "hdr.message-id");
	return idx == UINT_MAX ||
		mail_cache_field_exists(view, _mail->seq, idx) <= 0;
}

void pgbox_mail_set_envelope(struct pgbox_mail *mail, const void *value,
			     size_t size)
{
	struct index_mail *imail = &mail->imail;
	struct mail *_mail = &imail->mail.mail;
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(_mail->box);

	if (imail->data.envelope != NULL)
		return;
	imail->data.envelope = p_strndup(imail->mail.data_pool, value, size);
	if (mail_cache_field_can_add(_mail->transaction->cache_trans,
				     _mail->seq, mbox->envelope_field)) {
		index_mail_cache_add_idx(imail, mbox->envelope_field, value,
					 size);
	}
}

static void mail_get_cached_envelope(struct pgbox_mail *mail)
{
	struct index_mail *imail = &mail->imail;
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(imail->mail.mail.box);
	string_t *str;

	if (imail->data.envelope != NULL)
		return;
	str = str_new(imail->mail.data_pool, 512);
	if (index_mail_cache_lookup_field(imail, str,
					  mbox->envelope_field) > 0)
		imail->data.envelope = str_c(str);
	else
		str_free(&str);
}

static int
mail_get_special_envelope(struct mail *_mail, const char **value_r)
{
	struct pgbox_mail *mail = PGBOX_MAIL(_mail);

	if (!_mail->saving) {
		mail_get_cached_envelope(mail);
		if ((mail->have & PGBOX_FETCH_ENVELOPE) == 0 &&
		    pgbox_mail_want_envelope(_mail) &&
		    (!mail_metadata_access_start(_mail) ||
		     pgbox_fetch(mail, PGBOX_FETCH_ENVELOPE) < 0))
			return -1;
	}
	/* as it was fetched, or from Dovecot's cache, or by parsing */
	return index_mail_get_special(_mail, MAIL_FETCH_IMAP_ENVELOPE,
				      value_r);
}

/*
 * What the row has
 */

static int
mail_get_special_row(struct mail *_mail, enum mail_fetch_field field,
		     const char **value_r)
{
	struct pgbox_mail *mail = PGBOX_MAIL(_mail);
	pool_t pool = mail->imail.mail.data_pool;

	if (_mail->saving) {
		struct pgbox_upload_mail *saving = pgbox_mail_get_saving(_mail);

		*value_r = field != MAIL_FETCH_GUID || saving == NULL ||
			saving->input == NULL ? "" :
			p_strdup(pool, guid_128_to_string(saving->append.guid));
		return 0;
	}
	if (field == MAIL_FETCH_GUID && mail->imail.data.guid != NULL) {
		*value_r = mail->imail.data.guid;
		return 0;
	}
	if (pgbox_mail_need_row(_mail) < 0)
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

int pgbox_mail_get_special(struct mail *_mail, enum mail_fetch_field field,
			   const char **value_r)
{
	switch (field) {
	case MAIL_FETCH_IMAP_BODY:
	case MAIL_FETCH_IMAP_BODYSTRUCTURE:
		return mail_get_special_structure(_mail, field, value_r);
	case MAIL_FETCH_IMAP_ENVELOPE:
		return mail_get_special_envelope(_mail, value_r);
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
