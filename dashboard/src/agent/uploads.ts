import { useState } from "react"
import { api, explain, queryClient } from "../api.ts"
import { pathTo } from "../paths.ts"
import { t } from "../texts.ts"
import { toastError } from "../ui/toast.ts"

export interface Upload {
  id: number
  name: string
  size: number
  percent: number
  error: string | null
  /** Sends it once more over the file that stands there; null where that is not what is wrong. */
  replace: (() => void) | null
}

let next = 0

/** Files on their way into a workspace, one after the other, with how far each is. */
export function useUploads(user: string, agent: string) {
  const [list, setList] = useState<Upload[]>([])
  const change = (id: number, part: Partial<Upload>) =>
    setList((all) => all.map((u) => (u.id === id ? { ...u, ...part } : u)))
  const refresh = () => queryClient.invalidateQueries({ queryKey: ["folder", user, agent] })

  const upload = async (id: number, path: string, file: File, over: boolean) => {
    change(id, { percent: 0, error: null, replace: null })
    const onProgress = (percent: number) => change(id, { percent })
    const failed = await send(pathTo.download(user, agent, path), file, over, onProgress)
    if (failed === null) setList((all) => all.filter((u) => u.id !== id))
    else if (failed.status === 412)
      change(id, { error: t.files.exists, replace: () => void upload(id, path, file, true) })
    else change(id, { error: failed.reason })
    if (over) queryClient.removeQueries({ queryKey: ["file", user, agent, path], type: "inactive" })
    await Promise.all([refresh(), queryClient.invalidateQueries({ queryKey: ["file", user, agent, path] })])
  }
  const add = async (folder: string, files: File[]) => {
    const jobs = files.map((file) => ({ id: next++, file }))
    setList((all) => [
      ...all,
      ...jobs.map(({ id, file: { name, size } }) => ({ id, name, size, percent: 0, error: null, replace: null })),
    ])
    for (const { id, file } of jobs) await upload(id, folder ? `${folder}/${file.name}` : file.name, file, false)
  }
  const create = async (path: string, then: (path: string) => void) => {
    try {
      await api.files.write({ user, agent, path }, "", { headers: { "If-None-Match": "*" } })
      await refresh()
      then(path)
    } catch (error) {
      toastError(error)
    }
  }
  return {
    list,
    add: (folder: string, files: File[]) => void add(folder, files),
    create: (path: string, then: (path: string) => void) => void create(path, then),
    dismiss: (id: number) => setList((all) => all.filter((u) => u.id !== id)),
  }
}

interface Failed {
  status: number
  reason: string
}

/** `fetch` does not tell how much has been sent. Answers what went wrong, or null; `over`: also where a file stands. */
function send(url: string, file: File, over: boolean, onProgress: (percent: number) => void): Promise<Failed | null> {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest()
    request.open("PUT", url)
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream")
    if (!over) request.setRequestHeader("If-None-Match", "*")
    request.upload.onprogress = (event) => event.lengthComputable && onProgress((100 * event.loaded) / event.total)
    request.onload = () =>
      resolve(request.status < 300 ? null : { status: request.status, reason: reason(request.responseText) })
    request.onerror = () => resolve({ status: 0, reason: t.errors.offline })
    request.send(file)
  })
}

function reason(text: string): string {
  try {
    const body: unknown = JSON.parse(text)
    if (typeof body === "object" && body !== null && "error" in body) return String(body.error)
  } catch {
    // Not the API's own words: a proxy's page, perhaps.
  }
  return explain(null)
}
