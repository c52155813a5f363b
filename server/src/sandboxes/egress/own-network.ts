import { spawn } from "node:child_process"
import { once } from "node:events"

/**
 * Addresses that are played inside, so that an attack that gets out of a sandbox never gets out of the test. The last
 * gives the loopback its whole network: 93.184.216.34 is played too, without being an address of an interface.
 */
const PLAYED = ["169.254.169.254", "10.0.0.1", "198.51.100.7", "93.184.216.1"]

/**
 * Brings the loopback up, gives it the played addresses (SIOCSIFFLAGS, SIOCSIFADDR), has names asked of this machine
 * alone, then becomes the test.
 */
const SCRIPT = `
use Socket;
socket(S, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
my $up = pack("a16sx22", "lo", 1);
ioctl(S, 0x8914, $up) or die "up: $!";
my $i = 0;
for my $a (split /,/, shift @ARGV) {
  my $request = pack("a16Sna4x16", "lo:" . $i++, AF_INET, 0, inet_aton($a));
  ioctl(S, 0x8916, $request) or die "address: $!";
}
my $names = 'f=$(mktemp) && echo nameserver 127.0.0.1 > $f && mount --bind $f /etc/resolv.conf && rm $f';
system($names) == 0 or die "names";
exec @ARGV or die "exec: $!";
`

export const inOwnNetwork = process.env.AUTONOMIS_TEST_NETWORK === "own"

/** A command that makes a network namespace of its own and runs the given one in it. */
export function withOwnNetwork(command: string[]): string[] {
  const asRoot = process.getuid?.() === 0
  const user = asRoot ? [] : ["--map-current-user", "--keep-caps"]
  return ["unshare", ...user, "--net", "--mount", "perl", "-e", SCRIPT, PLAYED.join(","), ...command]
}

/** Runs a test file again in a network namespace of its own; rejects with what it said when it fails. */
export const runInOwnNetwork = (file: string): Promise<void> => runAgain(file, withOwnNetwork)

/** The same in the network namespace of another process, which must be one made by `withOwnNetwork`. */
export const runInNetworkOf = (pid: number, file: string, how: How = {}): Promise<void> =>
  runAgain(file, (command) => ["nsenter", `--net=/proc/${pid}/ns/net`, "--", ...command], how)

interface How {
  env?: Record<string, string>
  /** Of the file's tests those whose name begins like this. */
  only?: string
}

async function runAgain(
  file: string,
  within: (command: string[]) => string[],
  { env: more = {}, only }: How = {},
): Promise<void> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const [command = "", ...args] = within([
    ...[process.execPath, "--test-reporter=spec", ...(only === undefined ? [] : [`--test-name-pattern=^${only}`])],
    file,
  ])
  const child = spawn(command, args, {
    env: { ...env, ...more, AUTONOMIS_TEST_NETWORK: "own" },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let said = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      said = (said + chunk).slice(-20_000)
    })
  }
  const [code] = await once(child, "close")
  if (process.env.TEST_LONG) console.log(said)
  if (code !== 0) throw new Error(`failed in its own network:\n${said}`)
  if (!/^ℹ pass [1-9]/m.test(said)) throw new Error(`nothing was tested in its own network:\n${said}`)
}
