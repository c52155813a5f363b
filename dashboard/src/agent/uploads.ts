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
}

let next = 0

/** Files on their way into a workspace, one after the other, with how far each is. */
export function useUploads(user: string, agent: string) {
  const [list, setList] = useState<Upload[]>([])
  const change = (id: number, part: Partial<Upload>) =>
    setList((all) => all.map((u) => (u.id === id ? { ...u, ...part } : u)))
  const refresh = () => queryClient.invalidateQueries({ queryKey: ["folder", user, agent] })

  const add = async (folder: string, files: File[]) => {
    const jobs = files.map((file) => ({ id: next++, file }))
    setList((all) => [
      ...all,
      ...jobs.map(({ id, file }) => ({ id, name: file.name, size: file.size, percent: 0, error: null })),
    ])
    for (const { id, file } of jobs) {
      const path = folder ? `${folder}/${file.name}` : file.name
      const error = await send(pathTo.download(user, agent, path), file, (percent) => change(id, { percent }))
      if (error === null) setList((all) => all.filter((u) => u.id !== id))
      else change(id, { error })
      await refresh()
    }
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

/** `fetch` does not tell how much has been sent. Answers what went wrong, or null. */
function send(url: string, file: File, onProgress: (percent: number) => void): Promise<string | null> {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest()
    request.open("PUT", url)
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream")
    request.upload.onprogress = (event) => event.lengthComputable && onProgress((100 * event.loaded) / event.total)
    request.onload = () => resolve(request.status < 300 ? null : reason(request.responseText))
    request.onerror = () => resolve(t.errors.offline)
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
