/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "mailbox-recent-flags.h"
#include "pgbox-error.h"
#include "pgbox-storage.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-storage-error.h"
#include "pgbox-recent.h"

int pgbox_recent_assign(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct mail_index_transaction *trans;
	const struct mail_index_header *hdr;
	struct mail_index_view *view;
	struct pgbox_error error;
	uint32_t first_uid, seq1, seq2, next_uid;
	int ret = 0;

	view = mail_index_view_open(box->index);
	hdr = mail_index_get_header(view);
	next_uid = hdr->next_uid;
	if (hdr->first_recent_uid < next_uid) {
		ret = pgbox_recent_claim(mbox->conn, mbox->mailbox_id,
					 next_uid, &first_uid, &error);
		if (ret < 0)
			pgbox_mailbox_set_error(box, &error);
		else if (first_uid < next_uid &&
			 mail_index_lookup_seq_range(view, first_uid,
						     next_uid - 1,
						     &seq1, &seq2)) {
			mailbox_recent_flags_set_seqs(box, view, seq1, seq2);
		}
	}
	if (ret == 0 && hdr->first_recent_uid < next_uid) {
		trans = mail_index_transaction_begin(view,
			MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
		mail_index_update_header(trans,
			offsetof(struct mail_index_header, first_recent_uid),
			&next_uid, sizeof(next_uid), FALSE);
		if (mail_index_transaction_commit(&trans) < 0)
			mailbox_set_index_error(box);
	}
	mail_index_view_close(&view);
	return ret;
}
