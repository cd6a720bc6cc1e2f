/*
 * A disk that lies: every sync succeeds at once and does nothing. Preloaded into the broker (LD_PRELOAD), it stands for
 * a build that forgot to sync. Killing the process cannot show the difference; cutting the power must.
 */
int fdatasync(int fd) { return (void)fd, 0; }
int fsync(int fd) { return (void)fd, 0; }
