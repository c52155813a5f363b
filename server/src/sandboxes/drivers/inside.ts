import { chmod, copyFile, stat } from "node:fs/promises"
import { join } from "node:path"

/** Who runs everything inside, where the server may choose. */
export const INNER_UID = 10001

/** Node as every user may run it: the server's own, or a copy in `folder` where that one's mode is narrower. */
export async function readableNode(folder: string): Promise<string> {
  if (((await stat(process.execPath)).mode & 0o005) === 0o005) return process.execPath
  const copyOfNode = join(folder, "node")
  await copyFile(process.execPath, copyOfNode)
  await chmod(copyOfNode, 0o755)
  return copyOfNode
}
