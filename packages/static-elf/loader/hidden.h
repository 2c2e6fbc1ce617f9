/*
 * The variables by which an image could influence ld.so, glibc or Bun, or redirect the program's secrets. They were found by
 * logging the getenv calls of a running program and from the strings of the binary; repeat this when Bun or glibc is updated.
 * packages/daemon/src/process/environment.ts restores them for children and must apply the same two rules about case.
 *
 * Each is a prefix of a whole entry, so one that ends with '=' matches only that name. All start with an upper-case letter.
 */
#ifndef HIDDEN_H
#define HIDDEN_H

static const char hidden_prefixes[] =
    /* ld.so and glibc (ld.so(8), and the list in its sysdeps/generic/unsecvars.h): preloads, search paths, tunables, code
       from gconv modules, locale and time zone files, malloc's settings */
    "LD_\0"
    "GLIBC_TUNABLES=\0"
    "GCONV_PATH=\0"
    "GETCONF_DIR=\0"
    "LOCPATH=\0"
    "NLSPATH=\0"
    "TZDIR=\0"
    "MALLOC_\0"
    /* name resolution (resolver(5), host.conf(5), c-ares) */
    "HOSTALIASES=\0"
    "LOCALDOMAIN=\0"
    "RES_OPTIONS=\0"
    "RESOLV_\0"
    "CARES_\0"
    /* Bun, and the variables it supports from Node and libuv: other programs, preloads, debuggers, TLS checks */
    "BUN_\0"
    "NODE_\0"
    "UV_\0"
    "GOMAXPROCS=\0"
    /* JavaScriptCore and its allocators */
    "JSC_\0"
    "JavaScriptCore\0"
    "WTF_\0"
    "WebKit\0"
    "Malloc\0"
    "MIMALLOC_\0"
    /* the libraries inside Bun: certificates, cipher code paths, data files, logs of secrets, the C compiler of bun:ffi */
    "SSL_CERT_\0"
    "SSLKEYLOGFILE=\0"
    "OPENSSL_\0"
    "LSQUIC_\0"
    "ICU_\0"
    "SIMDUTF_\0"
    "GLIBCXX_TUNABLES=\0"
    "SQLITE_\0"
    "CPATH=\0"
    "C_INCLUDE_PATH=\0"
    "LIBRARY_PATH=\0"
    "TCC_\0";

/* Also every name with one of these suffixes and no letters of the other case: proxies come from the program's own settings only. */
static const char hidden_proxy[] = "_PROXY";
static const char hidden_proxy_lower[] = "_proxy";

/* Whether the name (up to its '=') has text before the suffix and contains no character from first to last. */
static int names_proxy(const char *v, const char *suffix, char first, char last) {
  unsigned long n = 0, m = sizeof hidden_proxy - 1;
  for (; v[n] && v[n] != '='; n++)
    if (v[n] >= first && v[n] <= last) return 0;
  if (n <= m) return 0;
  for (unsigned long i = 0; i < m; i++)
    if (v[n - m + i] != suffix[i]) return 0;
  return 1;
}

static int must_hide(const char *v) {
  for (const char *prefix = hidden_prefixes; *prefix; prefix++) {
    if (starts_with(v, prefix)) return 1;
    while (*prefix) prefix++;
  }
  if (v[0] >= 'A' && v[0] <= 'Z') return names_proxy(v, hidden_proxy, 'a', 'z');
  if (v[0] >= 'a' && v[0] <= 'z') return names_proxy(v, hidden_proxy_lower, 'A', 'Z');
  return 0;
}

/* Renames rather than removes: the first letter becomes the corresponding control character, so the program can restore it. */
static void hide_environment(char **envp) {
  for (; *envp; envp++)
    if (must_hide(*envp)) **envp &= 0x1f;
}

#endif
