/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "mail-index-private.h"
#include "mail-index-modseq.h"
#include "mail-index-view-private.h"
#include "mail-transaction-log-private.h"
#include "mail-cache.h"
#include "pgbox-index.h"

#define PGBOX_INDEX_EXT_NAME "pgbox"

void pgbox_index_register(struct pgbox_mailbox *mbox)
{
	mbox->ext_id = mail_index_ext_register(mbox->box.index, PGBOX_INDEX_EXT_NAME,
		sizeof(struct pgbox_index_header), 0, 0);
}

void pgbox_index_read_header(struct pgbox_mailbox *mbox,
			     struct mail_index_view *view,
			     struct pgbox_index_header *hdr_r)
{
	const struct mail_index_header *hdr = mail_index_get_header(view);
	const void *data;
	size_t size;

	i_zero(hdr_r);
	mail_index_get_header_ext(view, mbox->ext_id, &data, &size);
	if (size < sizeof(*hdr_r))
		return;
	memcpy(hdr_r, data, sizeof(*hdr_r));
	if (hdr_r->epoch != mbox->epoch ||
	    hdr->uid_validity != mbox->uidvalidity)
		hdr_r->last_synced = 0;
	if ((hdr->flags & MAIL_INDEX_HDR_FLAG_FSCKD) != 0) {
		/* lib-index has mended what it could: it isn't complete */
		hdr_r->last_synced = 0;
	}
}

void pgbox_index_refresh_header(struct pgbox_mailbox *mbox,
				struct pgbox_index_header *hdr_r)
{
	struct mail_index_view *view;

	(void)mail_index_refresh(mbox->box.index);
	view = mail_index_view_open(mbox->box.index);
	pgbox_index_read_header(mbox, view, hdr_r);
	mail_index_view_close(&view);
}

void pgbox_index_set_inconsistent(struct pgbox_mailbox *mbox)
{
	mbox->box.view->inconsistent = TRUE;
}

int pgbox_index_lock(struct pgbox_mailbox *mbox,
		     struct pgbox_index_lock *lock_r)
{
	struct mailbox *box = &mbox->box;
	struct mail_index_sync_rec sync_rec;
	enum mail_index_sync_flags flags =
		MAIL_INDEX_SYNC_FLAG_AVOID_FLAG_UPDATES;

	i_zero(lock_r);
	lock_r->mbox = mbox;
	if (mail_index_sync_begin(box->index, &lock_r->sync_ctx, &lock_r->view,
				  &lock_r->trans, flags) < 0) {
		mailbox_set_index_error(box);
		return -1;
	}
	/* Nothing is ever written that asks to be synced (all transactions
	   are EXTERNAL), but the log's tail only moves when all was read. */
	while (mail_index_sync_next(lock_r->sync_ctx, &sync_rec)) ;
	pgbox_index_read_header(mbox, lock_r->view, &lock_r->hdr);
	return 0;
}

int pgbox_index_unlock(struct pgbox_index_lock *lock, bool success)
{
	if (!success) {
		mail_index_sync_rollback(&lock->sync_ctx);
		return 0;
	}
	if (mail_index_sync_commit(&lock->sync_ctx) < 0) {
		mailbox_set_index_error(&lock->mbox->box);
		return -1;
	}
	return 0;
}

void pgbox_index_update_header(struct pgbox_mailbox *mbox,
			       struct mail_index_transaction *trans,
			       uint64_t last_synced)
{
	const struct pgbox_index_header hdr = {
		.last_synced = last_synced,
		.epoch = mbox->epoch,
	};
	mail_index_update_header_ext(trans, mbox->ext_id, 0,
				     &hdr, sizeof(hdr));
}

static uint64_t index_get_log_modseq(struct mail_index *index)
{
	return index->log->head == NULL ? 0 :
		index->log->head->sync_highest_modseq;
}

bool pgbox_index_is_exact(struct pgbox_mailbox *mbox,
			  const struct pgbox_index_header *hdr)
{
	return hdr->last_synced != 0 &&
		hdr->last_synced == index_get_log_modseq(mbox->box.index);
}

/* A new log begins where the one before ended, as lib-index has both in
   memory. Only for a reset: nothing is counted from the old one any more. */
static void index_lower_modseq(struct mail_index *index, uint64_t modseq)
{
	struct mail_index_modseq_header hdr;
	const struct mail_index_modseq_header *old_hdr;
	const struct mail_index_ext *ext;
	uint32_t idx;

	if (index_get_log_modseq(index) > modseq)
		index->log->head->sync_highest_modseq = modseq;
	old_hdr = mail_index_map_get_modseq_header(index->map);
	if (old_hdr == NULL || old_hdr->highest_modseq <= modseq ||
	    !mail_index_map_get_ext_idx(index->map, index->modseq_ext_id,
					&idx))
		return;
	hdr = *old_hdr;
	hdr.highest_modseq = modseq;
	ext = array_idx(&index->map->extensions, idx);
	buffer_write(index->map->hdr_copy_buf, ext->hdr_offset,
		     &hdr, sizeof(hdr));
}

static void
index_raise_modseq(struct mail_index_view *view, uint64_t modseq)
{
	struct mail_index_transaction *trans;

	trans = mail_index_transaction_begin(view,
		MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
	mail_index_update_highest_modseq(trans, modseq);
	/* a failure shows when the caller commits its own transaction */
	(void)mail_index_transaction_commit(&trans);
}

struct mail_index_transaction *
pgbox_index_reset_begin(struct pgbox_index_lock *lock,
			struct mail_index_view *view,
			uint64_t target, uint32_t uidvalidity)
{
	struct mailbox *box = &lock->mbox->box;
	struct mail_index_transaction *trans;
	struct mail_index_modseq_header modseq_hdr;
	uint64_t begin = target - PGBOX_MODSEQ_HALF + 1;

	/* The reset rotates the log, and the new file begins at the old one's
	   modseq. Any modseq up to target - HALF that a client holds is then
	   "before the log", and there is room for what the new log counts
	   before it is raised to target. */
	if (index_get_log_modseq(box->index) < begin)
		index_raise_modseq(view, begin);
	index_lower_modseq(box->index, begin);

	trans = mail_index_transaction_begin(view,
		MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
	mail_index_reset(trans);
	mail_index_unset_fscked(trans);
	mail_index_update_header(trans,
		offsetof(struct mail_index_header, uid_validity),
		&uidvalidity, sizeof(uidvalidity), TRUE);
	/* The reset drops the extension, and lib-index believes that it has
	   added it already. */
	i_zero(&modseq_hdr);
	mail_index_update_header_ext(trans, box->index->modseq_ext_id, 0,
				     &modseq_hdr, sizeof(modseq_hdr));
	(void)mail_cache_purge_with_trans(box->cache, trans, (uint32_t)-1,
					  "rebuilding index");
	return trans;
}

static int
log_append_begin(struct pgbox_index_lock *lock,
		 struct mail_transaction_log_append_ctx **ctx_r)
{
	struct mail_index *index = lock->mbox->box.index;

	if (mail_transaction_log_append_begin(index, MAIL_TRANSACTION_EXTERNAL,
					      ctx_r) < 0)
		return -1;
	/* as committing a transaction does: the modseqs are counted from the
	   log's end */
	(*ctx_r)->new_highest_modseq = index->log->head->sync_highest_modseq;
	return 0;
}

static void
log_add_modseq(struct mail_transaction_log_append_ctx *ctx, uint64_t modseq)
{
	const struct mail_transaction_modseq_update rec = {
		.uid = 0,
		.modseq_low32 = modseq & 0xffffffff,
		.modseq_high32 = modseq >> 32,
	};
	mail_transaction_log_append_add(ctx, MAIL_TRANSACTION_MODSEQ_UPDATE,
					&rec, sizeof(rec));
}

static void
log_add_expunges(struct mail_transaction_log_append_ctx *ctx,
		 const ARRAY_TYPE(seq_range) *uids)
{
	struct mail_transaction_expunge_guid rec;
	struct seq_range_iter iter;
	unsigned int n = 0;
	uint32_t uid;
	buffer_t *buf;

	buf = buffer_create_dynamic(default_pool, 1024);
	i_zero(&rec);
	seq_range_array_iter_init(&iter, uids);
	while (seq_range_array_iter_nth(&iter, n++, &uid)) {
		rec.uid = uid;
		buffer_append(buf, &rec, sizeof(rec));
	}
	mail_transaction_log_append_add(ctx, MAIL_TRANSACTION_EXPUNGE_GUID |
					MAIL_TRANSACTION_EXPUNGE_PROT,
					buf->data, buf->used);
	buffer_free(&buf);
}

static void
log_add_pins(struct mail_transaction_log_append_ctx *ctx, uint64_t modseq,
	     const ARRAY_TYPE(seq_range) *uids)
{
	struct mail_transaction_modseq_update rec;
	struct seq_range_iter iter;
	unsigned int n = 0;
	uint32_t uid;
	buffer_t *buf;

	if (array_count(uids) == 0)
		return;
	buf = buffer_create_dynamic(default_pool, 1024);
	rec.modseq_low32 = modseq & 0xffffffff;
	rec.modseq_high32 = modseq >> 32;
	seq_range_array_iter_init(&iter, uids);
	while (seq_range_array_iter_nth(&iter, n++, &uid)) {
		rec.uid = uid;
		buffer_append(buf, &rec, sizeof(rec));
	}
	mail_transaction_log_append_add(ctx, MAIL_TRANSACTION_MODSEQ_UPDATE,
					buf->data, buf->used);
	buffer_free(&buf);
}

/* By name: a reset forgets the numbers of extensions. */
static void
log_add_ext_intro(struct mail_transaction_log_append_ctx *ctx,
		  const char *name, uint32_t hdr_size, uint16_t record_size)
{
	const struct mail_transaction_ext_intro intro = {
		.ext_id = (uint32_t)-1,
		.hdr_size = hdr_size,
		.record_size = record_size,
		.record_align = record_size,
		.flags = MAIL_TRANSACTION_EXT_INTRO_FLAG_NO_SHRINK,
		.name_size = strlen(name),
	};
	buffer_t *buf = t_buffer_create(64);

	buffer_append(buf, &intro, sizeof(intro));
	buffer_append(buf, name, intro.name_size);
	while (buf->used % sizeof(uint32_t) != 0)
		buffer_append_c(buf, '\0');
	mail_transaction_log_append_add(ctx, MAIL_TRANSACTION_EXT_INTRO,
					buf->data, buf->used);
}

static void
log_add_last_synced(struct mail_transaction_log_append_ctx *ctx,
		    struct pgbox_mailbox *mbox, uint64_t last_synced)
{
	const struct pgbox_index_header hdr = {
		.last_synced = last_synced,
		.epoch = mbox->epoch,
	};
	const struct mail_transaction_ext_hdr_update update = {
		.offset = 0,
		.size = sizeof(hdr),
	};
	buffer_t *buf = t_buffer_create(64);

	log_add_ext_intro(ctx, PGBOX_INDEX_EXT_NAME, sizeof(hdr), 0);
	buffer_append(buf, &update, sizeof(update));
	buffer_append(buf, &hdr, sizeof(hdr));
	mail_transaction_log_append_add(ctx, MAIL_TRANSACTION_EXT_HDR_UPDATE,
					buf->data, buf->used);
}

void pgbox_index_modseqs_add(buffer_t *modseqs, uint32_t uid, uint64_t modseq)
{
	/* struct mail_transaction_ext_rec_update with its data */
	buffer_append(modseqs, &uid, sizeof(uid));
	buffer_append(modseqs, &modseq, sizeof(modseq));
}

int pgbox_index_reset_finish(struct pgbox_index_lock *lock, uint64_t target,
			     const buffer_t *modseqs)
{
	struct mail_transaction_log_append_ctx *ctx;

	if (log_append_begin(lock, &ctx) < 0)
		return -1;
	T_BEGIN {
		if (modseqs->used > 0) {
			log_add_ext_intro(ctx, MAIL_INDEX_MODSEQ_EXT_NAME,
				sizeof(struct mail_index_modseq_header),
				sizeof(uint64_t));
			mail_transaction_log_append_add(ctx,
				MAIL_TRANSACTION_EXT_REC_UPDATE,
				modseqs->data, modseqs->used);
		}
		log_add_last_synced(ctx, lock->mbox, target);
	} T_END;
	return mail_transaction_log_append_commit(&ctx);
}

int pgbox_index_log_raise(struct pgbox_index_lock *lock, uint64_t modseq)
{
	struct mail_transaction_log_append_ctx *ctx;

	if (log_append_begin(lock, &ctx) < 0)
		return -1;
	log_add_modseq(ctx, modseq);
	return mail_transaction_log_append_commit(&ctx);
}

int pgbox_index_log_changes(struct pgbox_index_lock *lock, uint64_t target,
			     const ARRAY_TYPE(seq_range) *expunged_uids,
			     const ARRAY_TYPE(seq_range) *changed_uids)
{
	struct mail_transaction_log_append_ctx *ctx;

	if (log_append_begin(lock, &ctx) < 0)
		return -1;
	if (array_count(expunged_uids) > 0) {
		/* An expunge record counts one: it lands on target, and a
		   session that syncs its view now reports target with
		   everything present. */
		log_add_modseq(ctx, target - 1);
		log_add_expunges(ctx, expunged_uids);
	}
	log_add_pins(ctx, target, changed_uids);
	return mail_transaction_log_append_commit(&ctx);
}
