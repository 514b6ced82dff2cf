/* The header that a local index has of ours: files on a node's disk may be
   anything. */
#include "../../src/storage/pgbox-index.c"
#include "fuzz.h"

static struct mail_index_header index_hdr;
static const unsigned char *ext_data;
static size_t ext_size;

const struct mail_index_header *
mail_index_get_header(struct mail_index_view *view ATTR_UNUSED)
{
	return &index_hdr;
}

void mail_index_get_header_ext(struct mail_index_view *view ATTR_UNUSED,
			       uint32_t ext_id ATTR_UNUSED,
			       const void **data_r, size_t *data_size_r)
{
	*data_r = ext_data;
	*data_size_r = ext_size;
}

void fuzz_init(void)
{
}

void fuzz_one(const unsigned char *data, size_t size)
{
	struct pgbox_mailbox mbox;
	struct pgbox_index_header hdr;

	if (size < 2)
		return;
	i_zero(&mbox);
	mbox.epoch = data[0] & 3;
	mbox.uidvalidity = data[0] >> 2;
	index_hdr.uid_validity = data[1] >> 2;
	index_hdr.flags = (data[1] & 1) != 0 ? MAIL_INDEX_HDR_FLAG_FSCKD : 0;
	ext_data = data + 2;
	ext_size = size - 2;
	pgbox_index_read_header(&mbox, NULL, &hdr);
	/* what doesn't fit is no header: the index is made anew */
	fuzz_require(hdr.last_synced == 0 ||
		     (ext_size >= sizeof(hdr) && hdr.epoch == mbox.epoch &&
		      index_hdr.uid_validity == mbox.uidvalidity &&
		      index_hdr.flags == 0));
}
