#ifndef PGBOX_NOTIFY_PROTOCOL_H
#define PGBOX_NOTIFY_PROTOCOL_H

/* What mail processes and the node's service say to each other: lines over a
   unix socket, fields separated by tabs (str_tabescape()). Both sides begin
   with Dovecot's VERSION line. ID is a number above 0 by which a process knows
   its watch; it isn't used twice in a connection.

   A process says
     CHANGED MAILBOX MODSEQ ACCOUNT  something was committed: what a struct
                                     pgbox_signal says. No answer.
     WATCH ID KIND KEY MODSEQ STORE  tell me of changes after MODSEQ (an
                                     account: 0), in the store of this GUID.
                                     KIND is M and KEY a mailbox_id, or KIND is
                                     A and KEY the name of an account. Answered
                                     by OK or NO.
     UNWATCH ID                      no answer
     DONE ID                         LOOK was followed; the next may come
     FAILED ID                       the database couldn't be looked at: LOOK
                                     again when it can be reached. After a LOOK
                                     it stands for DONE.
     PING                            answered by PONG

   The service says
     OK ID VOUCHED PATH the watch is there. VOUCHED: 1 or 0, as in VOUCH. PATH:
                        a file that is written to at each change, for who
                        can't keep the connection; empty if there is none
     NO ID REASON       there will be no watch
     LOOK ID MODSEQ     it has changed; MODSEQ 0: nobody knows up to where
     VOUCH 1            from now on you hear of all changes, and of those that
                        came between WATCH and now you have heard
     VOUCH 0            you may miss some: look for yourself now and then
     PONG */
#define PGBOX_NOTIFY_CLIENT_NAME "pgbox-notify-client"
#define PGBOX_NOTIFY_SERVER_NAME "pgbox-notify-server"
#define PGBOX_NOTIFY_MAJOR_VERSION 1
#define PGBOX_NOTIFY_MINOR_VERSION 0

/* names of accounts have up to 255 characters, and are escaped */
#define PGBOX_NOTIFY_MAX_LINE 4096

/* The socket in base_dir, unless the setting pgbox_notify names another. */
#define PGBOX_NOTIFY_SOCKET "pgbox-notify"

#define PGBOX_NOTIFY_KIND_MAILBOX "M"
#define PGBOX_NOTIFY_KIND_ACCOUNT "A"

#endif
