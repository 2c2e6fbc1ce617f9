/**
 * The table of interpreters Fleet knows: names, locations, version commands and patterns for their output. Detection and the
 * resolution of runtime names read it; a config file may extend it (`interpreters:`). (A4, A5)
 */

/** Recognises an interpreter by its version output. The first pattern that matches decides. */
export interface VersionPattern {
  /** Group 1 is the raw version. Without group 1, the interpreter works but does not report its version. */
  readonly pattern: RegExp;
  /** `cpython`, `pypy`, `busybox`, …; null when the output does not reveal it. */
  readonly implementation: string | null;
}

export interface Interpreter {
  /** Canonical name, `^[a-z0-9][a-z0-9_-]{0,63}$`. */
  readonly name: string;
  /** Alternative names in variables and config files, lower case. */
  readonly aliases: readonly string[];
  /** File names in order of preference: each is searched on the whole search path before the next. Absolute paths are allowed. */
  readonly candidates: readonly string[];
  /** Matches file names that contain a version: `python3.12`. */
  readonly versionedName?: RegExp;
  /** Directories searched after the search path. */
  readonly dirs?: readonly string[];
  /** Directories of other installed versions; `~` is the home directory, `$NAME` a variable, `*` any part of a name. */
  readonly installDirs?: readonly string[];
  /** Variables that hold an installation directory, each with the subdirectory of its programs. */
  readonly homes?: readonly { readonly variable: string; readonly bin: string }[];
  readonly versionArgs: readonly string[];
  readonly patterns: readonly VersionPattern[];
  /** Added to the minimal environment of its version command. */
  readonly env?: Readonly<Record<string, string>>;
  /** How slow its version command is compared with others (some boot a virtual machine). Slower ones start earlier. Default 0. */
  readonly slowness?: number;
  /** Its candidates in one directory are programs of the same installation (R and Rscript): only the first counts. */
  readonly isOneInstallationPerDir?: boolean;
  /** Defined in the config, which may give any program any name. */
  readonly isCustom?: boolean;
  /** A shell that does not report its version is identified by its file. */
  readonly isShell?: boolean;
}

/** An interpreter in a config file (`interpreters:`). With the name of a built-in one it replaces that. */
export interface CustomInterpreter {
  readonly name: string;
  readonly aliases?: readonly string[] | undefined;
  readonly candidates: readonly string[];
  /** Default `--version`. */
  readonly version_args?: readonly string[] | undefined;
  /** Source of a regular expression whose group 1 is the version. Default: the first text of the form `1.2` or `1.2.3`. */
  readonly pattern?: string | undefined;
}

const ANY_VERSION = /(\d+\.\d+(?:\.\d+)?)/;

/** Prints one line in any POSIX shell, with the version of the shells that keep it in a variable. */
const SHELL_SCRIPT =
  'echo "shell:${BASH_VERSION:+bash $BASH_VERSION}${ZSH_VERSION:+zsh $ZSH_VERSION}${YASH_VERSION:+yash $YASH_VERSION}:"';

/** In the order of the report. */
export const INTERPRETERS: readonly Interpreter[] = [
  {
    name: "shell",
    aliases: ["sh", "bash", "ash", "dash", "posix-shell"],
    candidates: ["sh", "bash", "ash", "dash"],
    dirs: ["/busybox"],
    versionArgs: ["-c", SHELL_SCRIPT],
    patterns: [
      { pattern: /^shell:bash (\d[\w.]*)/m, implementation: "bash" },
      { pattern: /^shell:zsh (\d[\w.]*)/m, implementation: "zsh" },
      { pattern: /^shell:yash (\d[\w.]*)/m, implementation: "yash" },
      { pattern: /^shell::/m, implementation: null },
    ],
    isShell: true,
  },
  {
    name: "python",
    aliases: ["python3", "py", "cpython", "pypy", "pypy3"],
    candidates: ["python3", "python", "pypy3"],
    dirs: ["/opt/venv/bin", "/opt/conda/bin", "/opt/bitnami/python/bin", "/opt/python/bin"],
    versionedName: /^(?:python|pypy)[23](?:\.\d+)?t?$/,
    installDirs: [
      "$PYENV_ROOT/versions/*/bin",
      "~/.pyenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/python/*/bin",
      "~/.asdf/installs/python/*/bin",
      "$MISE_DATA_DIR/installs/python/*/bin",
      "~/.local/share/mise/installs/python/*/bin",
      "~/.local/share/uv/python/*/bin",
      "/opt/python/*/bin",
      "/usr/local/python/*/bin",
    ],
    versionArgs: ["--version"],
    patterns: [
      { pattern: /^Python (\d\S*)[^\n]*\n\[PyPy /m, implementation: "pypy" },
      { pattern: /^GraalPy (\d\S*)/m, implementation: "graalpy" },
      { pattern: /^Python (\d\S*)/m, implementation: "cpython" },
    ],
  },
  {
    name: "node",
    aliases: ["nodejs", "node.js", "js", "javascript"],
    candidates: ["node", "nodejs"],
    dirs: ["/nodejs/bin", "/opt/bitnami/node/bin"],
    versionedName: /^node(?:js)?-?\d[\d.]*$/,
    installDirs: [
      "$NVM_DIR/versions/node/*/bin",
      "~/.nvm/versions/node/*/bin",
      "/usr/local/nvm/versions/node/*/bin",
      "~/.nodebrew/node/*/bin",
      "~/.fnm/node-versions/*/installation/bin",
      "~/.local/share/fnm/node-versions/*/installation/bin",
      "$VOLTA_HOME/tools/image/node/*/bin",
      "~/.volta/tools/image/node/*/bin",
      "/usr/local/lib/nodejs/*/bin",
      "/usr/local/n/versions/node/*/bin",
      "$NODENV_ROOT/versions/*/bin",
      "~/.nodenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/nodejs/*/bin",
      "~/.asdf/installs/nodejs/*/bin",
      "$MISE_DATA_DIR/installs/nodejs/*/bin",
      "~/.local/share/mise/installs/nodejs/*/bin",
      "$ASDF_DATA_DIR/installs/node/*/bin",
      "~/.asdf/installs/node/*/bin",
      "$MISE_DATA_DIR/installs/node/*/bin",
      "~/.local/share/mise/installs/node/*/bin",
    ],
    versionArgs: ["--version"],
    patterns: [{ pattern: /^v(\d+\.\d+\.\d+\S*)\s*$/m, implementation: "node" }],
    slowness: 1,
  },
  {
    name: "ruby",
    aliases: ["rb", "jruby", "truffleruby"],
    candidates: ["ruby", "jruby", "truffleruby"],
    dirs: ["/opt/bitnami/ruby/bin", "/opt/jruby/bin"],
    versionedName: /^(?:j|truffle)?ruby-?\d[\d.]*$/,
    installDirs: [
      "$RBENV_ROOT/versions/*/bin",
      "~/.rbenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/ruby/*/bin",
      "~/.asdf/installs/ruby/*/bin",
      "$MISE_DATA_DIR/installs/ruby/*/bin",
      "~/.local/share/mise/installs/ruby/*/bin",
      "/opt/rubies/*/bin",
      "~/.rubies/*/bin",
      "~/.rvm/rubies/*/bin",
      "/usr/local/rvm/rubies/*/bin",
    ],
    versionArgs: ["--version"],
    patterns: [
      { pattern: /^ruby (\d\S*)/m, implementation: "mri" },
      { pattern: /^jruby \S+ \((\d\S*?)\)/m, implementation: "jruby" },
      { pattern: /^truffleruby .*like ruby (\d[\w.]*)/m, implementation: "truffleruby" },
    ],
  },
  {
    name: "go",
    aliases: ["golang"],
    candidates: ["go"],
    dirs: ["/usr/local/go/bin", "/usr/lib/go/bin"],
    homes: [{ variable: "GOROOT", bin: "bin" }],
    versionedName: /^go-?1\.\d+(?:\.\d+)?$/,
    installDirs: [
      "/usr/lib/go-*/bin",
      "$GOENV_ROOT/versions/*/bin",
      "~/.goenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/golang/*/go/bin",
      "~/.asdf/installs/golang/*/go/bin",
      "$MISE_DATA_DIR/installs/golang/*/bin",
      "~/.local/share/mise/installs/golang/*/bin",
      "~/.local/share/mise/installs/go/*/bin",
      "~/sdk/*/bin",
    ],
    versionArgs: ["version"],
    // Without these, a go.mod or a settings file could make go download another toolchain first.
    env: { GOTOOLCHAIN: "local", GOENV: "off" },
    patterns: [
      { pattern: /^go version go(\d\S*) gccgo/m, implementation: "gccgo" },
      { pattern: /^go version (?:go|devel go)(\d\S*)/m, implementation: "gc" },
    ],
  },
  {
    name: "java",
    aliases: ["jre", "jdk", "jvm", "openjdk"],
    candidates: ["java"],
    dirs: [
      "/opt/java/openjdk/bin",
      "/usr/lib/jvm/default-jvm/bin",
      "/usr/lib/jvm/default-java/bin",
      "/usr/local/openjdk/bin",
    ],
    homes: [{ variable: "JAVA_HOME", bin: "bin" }],
    installDirs: [
      "/usr/lib/jvm/*/bin",
      "/opt/java/*/bin",
      "/usr/java/*/bin",
      "$SDKMAN_DIR/candidates/java/*/bin",
      "~/.sdkman/candidates/java/*/bin",
      "$JENV_ROOT/versions/*/bin",
      "~/.jenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/java/*/bin",
      "~/.asdf/installs/java/*/bin",
      "$MISE_DATA_DIR/installs/java/*/bin",
      "~/.local/share/mise/installs/java/*/bin",
    ],
    // The first flag prevents a file in /tmp, the second the start of the JIT compilers.
    versionArgs: ["-XX:-UsePerfData", "-Xint", "-version"],
    patterns: [
      { pattern: /^openjdk version "(\d[^"]*)"[^]*GraalVM/m, implementation: "graalvm" },
      { pattern: /^openjdk version "(\d[^"]*)"[^]*OpenJ9/m, implementation: "openj9" },
      { pattern: /^openjdk version "(\d[^"]*)"/m, implementation: "openjdk" },
      { pattern: /^java version "(\d[^"]*)"/m, implementation: "oracle" },
    ],
    slowness: 3,
  },
  {
    name: "r",
    aliases: ["rscript", "rlang"],
    candidates: ["Rscript", "R"],
    isOneInstallationPerDir: true,
    installDirs: ["/opt/R/*/bin"],
    versionArgs: ["--version"],
    patterns: [
      {
        pattern: /^(?:Rscript \(R\)|R scripting front-end|R) version (\d\S*)/m,
        implementation: "gnu-r",
      },
    ],
    slowness: 1,
  },
  {
    name: "perl",
    aliases: ["perl5", "pl"],
    candidates: ["perl"],
    versionedName: /^perl-?5\.\d+(?:\.\d+)?$/,
    installDirs: [
      "$PLENV_ROOT/versions/*/bin",
      "~/.plenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/perl/*/bin",
      "~/.asdf/installs/perl/*/bin",
      "$MISE_DATA_DIR/installs/perl/*/bin",
      "~/.local/share/mise/installs/perl/*/bin",
      "~/perl5/perlbrew/perls/*/bin",
    ],
    versionArgs: ["-v"],
    patterns: [{ pattern: /^This is perl .*\(v(\d\S*?)\)/m, implementation: "perl5" }],
  },
  {
    name: "php",
    aliases: ["php-cli"],
    candidates: ["php"],
    versionedName: /^php-?[5-9](?:\.?\d+)?$/,
    installDirs: [
      "$PHPENV_ROOT/versions/*/bin",
      "~/.phpenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/php/*/bin",
      "~/.asdf/installs/php/*/bin",
      "$MISE_DATA_DIR/installs/php/*/bin",
      "~/.local/share/mise/installs/php/*/bin",
    ],
    // -n ignores php.ini, whose extensions can be slow or missing.
    versionArgs: ["-n", "-v"],
    patterns: [{ pattern: /^PHP (\d\S*)/m, implementation: "php" }],
  },
  {
    name: "lua",
    aliases: ["luajit"],
    candidates: ["lua", "lua5.4", "lua5.3", "lua5.2", "lua5.1", "luajit"],
    versionedName: /^lua(?:jit)?-?[25](?:\.?\d[\w.]*)?$/,
    installDirs: [
      "$LUAENV_ROOT/versions/*/bin",
      "~/.luaenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/lua/*/bin",
      "~/.asdf/installs/lua/*/bin",
      "$MISE_DATA_DIR/installs/lua/*/bin",
      "~/.local/share/mise/installs/lua/*/bin",
    ],
    versionArgs: ["-v"],
    patterns: [
      { pattern: /^Lua (\d\S*)/m, implementation: "lua" },
      { pattern: /^LuaJIT (\d\S*)/m, implementation: "luajit" },
    ],
  },
  {
    name: "deno",
    aliases: [],
    candidates: ["deno"],
    homes: [{ variable: "DENO_INSTALL", bin: "bin" }],
    installDirs: [
      "$ASDF_DATA_DIR/installs/deno/*/bin",
      "~/.asdf/installs/deno/*/bin",
      "$MISE_DATA_DIR/installs/deno/*/bin",
      "~/.local/share/mise/installs/deno/*/bin",
    ],
    versionArgs: ["--version"],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    patterns: [{ pattern: /^deno (\d\S*)/m, implementation: "deno" }],
    slowness: 1,
  },
  {
    name: "bun",
    aliases: ["bunjs"],
    candidates: ["bun"],
    homes: [{ variable: "BUN_INSTALL", bin: "bin" }],
    installDirs: [
      "$ASDF_DATA_DIR/installs/bun/*/bin",
      "~/.asdf/installs/bun/*/bin",
      "$MISE_DATA_DIR/installs/bun/*/bin",
      "~/.local/share/mise/installs/bun/*/bin",
    ],
    versionArgs: ["--version"],
    patterns: [{ pattern: /^(\d+\.\d+\.\d+\S*)\s*$/m, implementation: "bun" }],
  },
  {
    name: "dotnet",
    aliases: [".net", "net", "dotnetcore", "csharp"],
    candidates: ["dotnet"],
    dirs: ["/usr/share/dotnet", "/usr/lib/dotnet"],
    homes: [{ variable: "DOTNET_ROOT", bin: "" }],
    // `--version` prints the version of the SDK and fails if only the runtime is installed.
    versionArgs: ["--list-runtimes"],
    patterns: [
      {
        pattern: /^Microsoft\.NETCore\.App (\d\S*)(?![^]*^Microsoft\.NETCore\.App )/m,
        implementation: "coreclr",
      },
    ],
    slowness: 1,
  },
  {
    name: "elixir",
    aliases: ["ex", "exs"],
    candidates: ["elixir"],
    dirs: ["/opt/elixir/bin"],
    installDirs: [
      "$EXENV_ROOT/versions/*/bin",
      "~/.exenv/versions/*/bin",
      "$ASDF_DATA_DIR/installs/elixir/*/bin",
      "~/.asdf/installs/elixir/*/bin",
      "$MISE_DATA_DIR/installs/elixir/*/bin",
      "~/.local/share/mise/installs/elixir/*/bin",
    ],
    versionArgs: ["--version"],
    // One scheduler, because idle ones busy-wait and would slow down the other version commands.
    env: { ERL_CRASH_DUMP_SECONDS: "0", ERL_AFLAGS: "+S 1:1 +SDcpu 1:1 +SDio 1" },
    patterns: [{ pattern: /^Elixir (\d\S*)/m, implementation: "beam" }],
    slowness: 4,
  },
  {
    name: "powershell",
    aliases: ["pwsh"],
    candidates: ["pwsh"],
    versionArgs: ["--version"],
    env: { POWERSHELL_TELEMETRY_OPTOUT: "1", POWERSHELL_UPDATECHECK: "Off" },
    patterns: [{ pattern: /^PowerShell (\d\S*)/m, implementation: "powershell" }],
    slowness: 2,
  },
  {
    name: "octave",
    aliases: ["octave-cli"],
    candidates: ["octave-cli", "octave"],
    isOneInstallationPerDir: true,
    versionArgs: ["--version"],
    patterns: [{ pattern: /^GNU Octave, version (\d\S*)/m, implementation: "octave" }],
  },
];

/** Converts an interpreter of the config file to a table entry. Throws a SyntaxError when its pattern is not a regular expression. */
export function fromCustom(custom: CustomInterpreter): Interpreter {
  return {
    name: custom.name,
    isCustom: true,
    aliases: custom.aliases ?? [],
    candidates: custom.candidates,
    versionArgs: custom.version_args ?? ["--version"],
    patterns: [
      {
        pattern: custom.pattern === undefined ? ANY_VERSION : new RegExp(custom.pattern, "m"),
        implementation: null,
      },
    ],
  };
}
