/* Preloaded, a program lives OFFSET seconds away; no timer is touched. See scripts/test_around_the_clock.

   Only the wall clock moves (CLOCK_REALTIME and what is derived from it): sleeps, timeouts and the monotonic
   clock stay real. What the kernel dates since SINCE (files written meanwhile) is shown moved too,
   what is older is left alone (compiled Python stays valid). A date a program gives to a file is kept so that it
   reads back the same; dates that fall between the true and the other time wait 2^31 seconds earlier meanwhile. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <utime.h>

#ifndef OFFSET
#error "-DOFFSET: seconds between the true time and the other one; -DSINCE: the Unix time from which on"
#endif
static const time_t offset = OFFSET, since = SINCE, AWAY = (time_t)1 << 31;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static time_t shown(time_t kept) {
    if (kept >= since) return kept + offset;
    if (offset > 0 && kept >= since - AWAY && kept < since + offset - AWAY) return kept + AWAY;
    return kept;
}

static time_t kept(time_t given) {
    if (given >= since + offset) return given - offset;
    return given >= since ? given - AWAY : given;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    REAL(clock_gettime);
    int failed = real(clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        at->tv_sec += offset;
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    REAL(gettimeofday);
    int failed = real(at, zone);
    if (!failed && at) at->tv_sec += offset;
    return failed;
}

time_t time(time_t *into) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (into) *into = at.tv_sec;
    return at.tv_sec;
}

static int moved(int failed, struct stat *about) {
    if (!failed) {
        about->st_atim.tv_sec = shown(about->st_atim.tv_sec);
        about->st_mtim.tv_sec = shown(about->st_mtim.tv_sec);
        about->st_ctim.tv_sec = shown(about->st_ctim.tv_sec);
    }
    return failed;
}

int stat(const char *restrict path, struct stat *restrict about) { REAL(stat); return moved(real(path, about), about); }
int lstat(const char *restrict path, struct stat *restrict about) { REAL(lstat); return moved(real(path, about), about); }
int fstat(int fd, struct stat *about) { REAL(fstat); return moved(real(fd, about), about); }
int fstatat(int fd, const char *restrict path, struct stat *restrict about, int flags) {
    REAL(fstatat);
    return moved(real(fd, path, about, flags), about);
}
int stat64(const char *restrict path, struct stat64 *restrict about) { return stat(path, (struct stat *)about); }
int lstat64(const char *restrict path, struct stat64 *restrict about) { return lstat(path, (struct stat *)about); }
int fstat64(int fd, struct stat64 *about) { return fstat(fd, (struct stat *)about); }
int fstatat64(int fd, const char *restrict path, struct stat64 *restrict about, int flags) {
    return fstatat(fd, path, (struct stat *)about, flags);
}
int __xstat(int version, const char *path, struct stat *about) { return stat(path, about); }
int __lxstat(int version, const char *path, struct stat *about) { return lstat(path, about); }
int __fxstat(int version, int fd, struct stat *about) { return fstat(fd, about); }
int __xstat64(int version, const char *path, struct stat64 *about) { return stat64(path, about); }
int __lxstat64(int version, const char *path, struct stat64 *about) { return lstat64(path, about); }
int __fxstat64(int version, int fd, struct stat64 *about) { return fstat64(fd, about); }

int statx(int fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict about) {
    REAL(statx);
    int failed = real(fd, path, flags, mask, about);
    if (!failed) {
        about->stx_atime.tv_sec = shown(about->stx_atime.tv_sec);
        about->stx_mtime.tv_sec = shown(about->stx_mtime.tv_sec);
        about->stx_ctime.tv_sec = shown(about->stx_ctime.tv_sec);
        about->stx_btime.tv_sec = shown(about->stx_btime.tv_sec);
    }
    return failed;
}

static struct timespec one(struct timespec given) {
    if (given.tv_nsec != UTIME_NOW && given.tv_nsec != UTIME_OMIT) given.tv_sec = kept(given.tv_sec);
    return given;
}

int utimensat(int fd, const char *path, const struct timespec given[2], int flags) {
    REAL(utimensat);
    if (!given) return real(fd, path, NULL, flags);
    struct timespec both[2] = {one(given[0]), one(given[1])};
    return real(fd, path, both, flags);
}

int futimens(int fd, const struct timespec given[2]) {
    REAL(futimens);
    if (!given) return real(fd, NULL);
    struct timespec both[2] = {one(given[0]), one(given[1])};
    return real(fd, both);
}

static int old(int fd, const char *path, const struct timeval given[2], int flags) {
    if (!given) return path ? utimensat(fd, path, NULL, flags) : futimens(fd, NULL);
    struct timespec both[2] = {{given[0].tv_sec, given[0].tv_usec * 1000}, {given[1].tv_sec, given[1].tv_usec * 1000}};
    return path ? utimensat(fd, path, both, flags) : futimens(fd, both);
}

int utimes(const char *path, const struct timeval given[2]) { return old(AT_FDCWD, path, given, 0); }
int lutimes(const char *path, const struct timeval given[2]) { return old(AT_FDCWD, path, given, AT_SYMLINK_NOFOLLOW); }
int futimes(int fd, const struct timeval given[2]) { return old(fd, NULL, given, 0); }
int futimesat(int fd, const char *path, const struct timeval given[2]) { return old(fd, path, given, 0); }
int utime(const char *path, const struct utimbuf *given) {
    struct timeval both[2] = {{given ? given->actime : 0, 0}, {given ? given->modtime : 0, 0}};
    return old(AT_FDCWD, path, given ? both : NULL, 0);
}
