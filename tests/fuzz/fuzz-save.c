/* Where a message's header ends, and its body in chunks: together they are the
   message, whatever it is and however it arrives. */
#include "fuzz.h"
#include "array.h"
#include "buffer.h"
#include "istream.h"
#include "write-full.h"
#include "pgbox-error.h"
#include "pgbox-upload.h"

#include <openssl/sha.h>
#include <sys/mman.h>
#include <unistd.h>

/* so that headers and bodies pass their limits with little input */
static const unsigned int repetitions[] = { 1, 1, 1, 40, 400, 4000 };

static buffer_t *message, *chunk;
/* as the spool has it */
static int spool_fd;

static void check_mail(const struct pgbox_content *content)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	const unsigned char *data = message->data;

	fuzz_require(content->header_size <= PGBOX_UPLOAD_MAX_HEADER);
	fuzz_require(content->header_complete || content->header_size == 0);
	fuzz_require(content->header_size + content->body_size ==
		     message->used);
	fuzz_require(content->header_size == 0 ||
		     memcmp(content->header, data,
			    content->header_size) == 0);
	/* a body begins with a line */
	fuzz_require(content->header_size == 0 || content->body_size == 0 ||
		     data[content->header_size - 1] == '\n');
	(void)SHA256(data + content->header_size, content->body_size, digest);
	fuzz_require(memcmp(digest, content->digest, sizeof(digest)) == 0);
}

static void check_chunks(struct pgbox_upload_mail *mail)
{
	const struct pgbox_content *content = &mail->content;
	const unsigned int count = pgbox_body_chunk_count(content->body_size);
	size_t pos = content->header_size;
	struct pgbox_error error;

	for (unsigned int i = 0; i < count; i++) {
		fuzz_require(pgbox_upload_read_chunk(mail, i, chunk,
						     &error) == 0);
		fuzz_require(pos + chunk->used <= message->used);
		fuzz_require(memcmp(chunk->data, CONST_PTR_OFFSET(
			message->data, pos), chunk->used) == 0);
		pos += chunk->used;
	}
	fuzz_require(pos == message->used);
}

void fuzz_init(void)
{
	message = buffer_create_dynamic(default_pool, 4096);
	chunk = buffer_create_dynamic(default_pool, 4096);
	spool_fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (spool_fd == -1)
		i_fatal("memfd_create() failed: %m");
}

static struct istream *spool_message(size_t buffer_size)
{
	if (ftruncate(spool_fd, 0) < 0 ||
	    pwrite_full(spool_fd, message->data, message->used, 0) < 0)
		i_fatal("write() failed: %m");
	return i_stream_create_fd(spool_fd, buffer_size);
}

void fuzz_one(const unsigned char *data, size_t size)
{
	struct pgbox_upload *upload;
	struct pgbox_upload_mail *mail;
	const char *error;
	unsigned int count;

	if (size < 3)
		return;
	count = repetitions[data[0] % N_ELEMENTS(repetitions)];
	/* of the first part; the rest of it comes once */
	size_t part = I_MIN((size_t)data[1], size - 3);

	buffer_set_used_size(message, 0);
	for (unsigned int i = 0; i < count; i++)
		buffer_append(message, data + 3, part);
	buffer_append(message, data + 3 + part, size - 3 - part);

	upload = pgbox_upload_init();
	mail = pgbox_upload_add(upload);
	mail->input = spool_message(count > 1 ? 8192 : 16 + data[2]);
	fuzz_require(pgbox_upload_digest(upload, mail, (data[0] & 0x80) == 0,
					 &error) == 0);
	check_mail(&mail->content);
	check_chunks(mail);
	pgbox_upload_deinit(&upload);
}
