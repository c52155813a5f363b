import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { appendFile, cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import type { Readable } from "node:stream"
import { IMAGE_PACKAGES } from "../server/src/sandboxes/drivers/docker/image.ts"

export interface ImageRootOptions {
  say(line: string): void
  /** Debian's by default. */
  mirror?: string | undefined
}

const INSTALL = "apt-get update && apt-get install -y --no-install-recommends debootstrap debian-archive-keyring"
/** Of Debian's minimal system, but of no use inside, or naming what a sandbox should not even seem to have. */
const SUPERFLUOUS =
  "boot home media mnt opt srv root/.bashrc root/.profile etc/shadow etc/shadow- etc/gshadow etc/gshadow- usr/share/doc usr/share/man usr/share/locale usr/share/info var/cache var/lib/apt/lists var/lib/dpkg/info var/log var/tmp".split(
    " ",
  )

/** Makes the image's files from Debian's packages, hands them over as a tar, and removes them. Errors are for a terminal. */
export async function withImageRoot<T>(
  options: ImageRootOptions,
  use: (tar: () => Readable) => Promise<T>,
): Promise<T> {
  const { say, mirror } = options
  if (process.getuid?.() !== 0)
    throw new Error("the image's files can only be made by root: sudo npm run sandbox-image")
  provideDebootstrap(say)
  const folder = await mkdtemp(join(tmpdir(), "autonomis-image-"))
  const root = join(folder, "root")
  try {
    const suite = imageSuite()
    say(`Making a Debian ${suite} with ${IMAGE_PACKAGES.join(", ")}; this takes a minute …`)
    await run("debootstrap", [
      ...["--variant=minbase", "--force-check-gpg", `--include=${IMAGE_PACKAGES.join(",")}`],
      ...[suite, root, ...(mirror === undefined ? [] : [mirror])],
    ])
    await tidy(root)
    return await use(() => {
      const tar = spawn("tar", ["--numeric-owner", "--one-file-system", "-C", root, "-c", "."], {
        stdio: ["ignore", "pipe", "inherit"],
      })
      tar.once("exit", (code) => {
        if (code !== 0) tar.stdout.destroy(new Error(`tar ended with ${code}`))
      })
      return tar.stdout
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function tidy(root: string): Promise<void> {
  for (const name of SUPERFLUOUS) await rm(join(root, name), { recursive: true, force: true })
  await symlink("../tmp", join(root, "var/tmp"))
  for (const name of ["work", "run/autonomis", "usr/local/lib"]) await mkdir(join(root, name), { recursive: true })
  await addNpm(root)
  await appendFile(join(root, "etc/passwd"), "agent:x:10001:10001:agent:/work:/bin/bash\n")
  await appendFile(join(root, "etc/group"), "agent:x:10001:\n")
  await writeFile(join(root, "etc/hosts"), "127.0.0.1 localhost sandbox\n::1 localhost\n")
  // Debian's maker of systems puts the host's in.
  await writeFile(join(root, "etc/resolv.conf"), "")
  await writeFile(join(root, "etc/hostname"), "sandbox\n")
}

/** The npm that runs this script: Debian's would bring hundreds of packages. */
async function addNpm(root: string): Promise<void> {
  const cli = process.env.npm_execpath ?? "/usr/lib/node_modules/npm/bin/npm-cli.js"
  if (!cli.endsWith("npm-cli.js") || !existsSync(cli)) return
  await cp(dirname(dirname(cli)), join(root, "usr/local/lib/node_modules/npm"), { recursive: true, dereference: true })
  for (const name of ["npm", "npx"])
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(root, "usr/local/bin", name))
}

function provideDebootstrap(say: (line: string) => void): void {
  if (inPath("debootstrap")) return
  if (!inPath("apt-get"))
    throw new Error("debootstrap is not installed; get it from your system's packages, then run this again")
  say("Installing debootstrap from Debian, which makes the image's files …")
  const { status } = spawnSync("sh", ["-c", INSTALL], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  })
  if (status !== 0 || !inPath("debootstrap")) throw new Error(`debootstrap could not be installed; run: ${INSTALL}`)
}

const inPath = (program: string) =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)))

/** The host's own Debian, so that the host's Node runs in there; elsewhere the newest stable. */
export function imageSuite(): string {
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : ""
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1]
  return /^ID=debian$/m.test(release) && codename !== undefined ? codename : "stable"
}

function run(command: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] })
    let said = ""
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-2_000)
      })
    }
    child.once("error", reject)
    child.once("close", (code) => {
      if (code === 0) resolve()
      else reject(new Error(`${command} failed:\n${said.trim()}`))
    })
  })
}
