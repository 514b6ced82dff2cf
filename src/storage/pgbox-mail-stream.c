/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "istream.h"
#include "pgbox-conn.h"
#include "pgbox-upload.h"
#include "pgbox-mail.h"

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
mail_open_stored(struct pgbox_mail *mail, struct pgbox_mailbox *mbox)
{
	const struct pgbox_content_info *info = &mail->row.content;
	struct pgbox_stored stored = {
		.replica = mbox->replica,
		.header = mail->header->data,
		.header_size = mail->header->used,
		.head = mail->head->data,
		.head_size = mail->head->used,
		.body_size = info->body_size,
		.cache = mbox->storage->content_cache,
		.cache_keep = pgbox_content_is_kept(mail),
	};

	memcpy(stored.digest, info->digest, sizeof(stored.digest));
	return pgbox_body_stream_create(mbox->conn, &stored, NULL);
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
		input = mail_open_stored(mail, mbox);
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
	struct pgbox_upload_mail *saving = pgbox_mail_get_saving(_mail);
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
	if (header_only && mail->row.content.header_size < 0) {
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

int pgbox_mail_get_stream(struct mail *_mail, bool get_body,
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
