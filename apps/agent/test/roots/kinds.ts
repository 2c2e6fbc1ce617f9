/** The kinds of roots, from an empty one to another Debian release: their content, and what the agent must find in them. */
import { expect } from "bun:test";
import { cpSync, readFileSync } from "node:fs";
import type { ImageReport } from "@fleet/runtimes";
import type { Packages } from "./packages.ts";
import type { Processor } from "./processor.ts";
import type { Root } from "./root.ts";

const LINKS_AS_THEY_ARE = { recursive: true, verbatimSymlinks: true };

/** The sources of a root's content. */
export interface Stock {
  readonly processor: Processor;
  readonly packages: Packages;
  readonly isEmulated: boolean;
}

/** A second sensor, in a runtime of the root, that numbers its frames. */
export interface RuntimeSensor {
  readonly runtime: string;
  readonly command: readonly string[];
}

export interface Kind {
  /** Also the node's id. */
  readonly name: string;
  readonly about: string;
  populate(root: Root, stock: Stock): void;
  /** Fails unless the report matches the content of the root exactly. */
  check(report: ImageReport, stock: Stock): void;
  readonly sensor?: RuntimeSensor;
  /** A program that loads the library which this image preloads. */
  readonly witnessed?: string;
  /** Has dynamic programs that only the kernel can start, so that it can't be emulated. */
  readonly isNativeOnly?: boolean;
}

const SHELL_SENSOR = `i=0
while :; do
  i=$((i + 1))
  echo "{\\"timestamp\\":$((1783500000000 + i)),\\"delay\\":[$i],\\"doppler\\":[0],\\"snr\\":[1]}"
  sleep 0.02
done
`;

const PERL_SENSOR = `$| = 1;
for (my $i = 1; ; $i++) {
  printf qq({"timestamp":%d,"delay":[%d],"doppler":[0],"snr":[1]}\\n), 1783500000000 + $i, $i;
  select(undef, undef, undef, 0.02);
}
`;

const empty: Kind = {
  name: "empty",
  about: "a root with nothing in it but /proc",
  populate() {},
  check(report) {
    expect(report.interpreters).toEqual([]);
    expect(report.package_managers).toEqual([]);
    expect(report.image.os).toBeNull();
    expect(report.image.libc).toEqual({ family: "none", version: null });
  },
};

export const busybox: Kind = {
  name: "busybox",
  about: "a root with busybox and its links",
  populate(root, stock) {
    addBusybox(root, stock);
    root.file("/sensor.sh", SHELL_SENSOR);
  },
  check(report, { isEmulated }) {
    expect(report.interpreters).toHaveLength(1);
    expect(report.interpreters[0]).toMatchObject({
      verdict: "ok",
      name: "shell",
      path: "/bin/sh",
      real_path: "/bin/busybox",
      implementation: "busybox",
    });
    // Under emulation it is a script, which contains no version.
    if (!isEmulated)
      expect(report.interpreters[0]).toMatchObject({
        version: expect.stringMatching(/^1\.\d+\.\d+$/) as string,
      });
    expect(report.image.libc).toEqual({ family: "none", version: null });
  },
  sensor: { runtime: "shell", command: ["/sensor.sh"] },
};

const musl: Kind = {
  name: "musl",
  about: "a root with musl's loader, and a shell that wants glibc's",
  populate(root, { packages }) {
    cpSync(packages.file("musl", "lib"), root.at("/lib"), LINKS_AS_THEY_ARE);
    root.directory("/bin");
    cpSync(packages.file("dash", "bin/dash"), root.at("/bin/sh"));
  },
  check(report, { processor }) {
    expect(report.image.libc).toEqual({
      family: "musl",
      version: expect.stringMatching(/^1\.\d+\.\d+$/) as string,
    });
    expect(report.interpreters).toMatchObject([
      {
        verdict: "broken",
        name: "shell",
        rejected: [
          {
            path: "/bin/sh",
            code: "loader_missing",
            reason: expect.stringContaining(processor.ldso) as string,
          },
        ],
      },
    ]);
  },
};

const debian: Kind = {
  name: "debian",
  about: "a root with another Debian release, in which a library is preloaded",
  populate(root, { packages }) {
    addDebian(root, packages);
    // As container runtimes do; the other roots have no /dev.
    root.bind("/dev/null", "/dev/null");
    root.file("/etc/ld.so.preload", "/hostile/witness.so\n");
    root.file("/sensor.pl", PERL_SENSOR);
  },
  check(report) {
    expect(report.image.os?.id).toBe("debian");
    expect(report.image.libc).toEqual({
      family: "glibc",
      version: expect.stringMatching(/^2\.\d+$/) as string,
    });
    expect(report.interpreters).toMatchObject([
      { verdict: "ok", name: "shell", implementation: "dash", libc: "glibc" },
      { verdict: "ok", name: "perl", implementation: "perl5", libc: "glibc" },
    ]);
  },
  sensor: { runtime: "perl", command: ["/sensor.pl"] },
  witnessed: "perl",
  isNativeOnly: true,
};

const poisoned: Kind = {
  name: "poisoned",
  about: "a root whose loader, libraries and /etc are garbage",
  populate(root, { processor, packages }) {
    addGarbage(root, processor);
    cpSync(packages.file("dash", "bin/dash"), root.at("/bin/sh"));
  },
  check(report) {
    expect(report.image.libc).toEqual({ family: "glibc", version: null });
    expect(report.interpreters).toMatchObject([
      {
        verdict: "broken",
        name: "shell",
        rejected: [{ path: "/bin/sh", code: expect.any(String) as string }],
      },
    ]);
  },
};

export const KINDS: readonly Kind[] = [empty, busybox, musl, debian, poisoned];

/**
 * Busybox and links to it. Under emulation they are scripts that start the emulator, because the kernel can't run busybox itself.
 * Busybox selects its applet by the script's name, which other programs would take for an argument.
 */
function addBusybox(root: Root, { packages, isEmulated }: Stock): void {
  const binary = isEmulated ? "/busybox" : "/bin/busybox";
  root.file(binary, readFileSync(packages.file("busybox-static", "bin/busybox")), 0o755);
  if (isEmulated) root.file("/bin/busybox", `#!${root.runner[0]} ${binary}\n`, 0o755);
  for (const applet of ["sh", "sleep"]) root.link(`/bin/${applet}`, "busybox");
}

/** A Debian with a shell and Perl, without hard links to other roots. */
export function addDebian(root: Root, packages: Packages): void {
  // base-files first: its /bin, /lib and /lib64 are links into /usr, which the other packages unpack through.
  for (const name of ["base-files", "libc6", "libcrypt1", "dash", "perl-base"])
    cpSync(packages.dir(name), root.dir, LINKS_AS_THEY_ARE);
}

function addGarbage(root: Root, { ldso, triple }: Processor): void {
  root.directory("/bin");
  root.file(ldso, "garbage", 0o755);
  const names = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libgcc_s.so.1"];
  const nss = ["libnss_files.so.2", "libnss_dns.so.2", "libnss_broken.so.2"];
  for (const dir of ["/lib", "/usr/lib", `/lib/${triple}`, `/usr/lib/${triple}`, "/lib64"])
    for (const name of [...names, ...nss]) root.file(`${dir}/${name}`, "garbage", 0o755);
  root.file("/etc/ld.so.preload", "/hostile/witness.so /hostile/missing.so\n");
  root.file("/etc/ld.so.conf", "/hostile/lib\ninclude /etc/*\n");
  root.file("/etc/ld.so.cache", "ld.so-1.7.0\0garbage");
  root.file("/etc/nsswitch.conf", "passwd: broken missing\ngroup: broken\nhosts: broken missing\n");
  for (const name of ["passwd", "group", "os-release", "localtime", "gai.conf", "host.conf"])
    root.file(`/etc/${name}`, "\xff::garbage\n".repeat(3));
  root.file("/etc/resolv.conf", "nameserver garbage\noptions \n");
  root.directory("/etc/hosts");
  root.directory("/etc/ssl/openssl.cnf");
}
