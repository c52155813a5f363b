import { isApiError } from "@autonomis/sdk/errors.ts"
import { useState } from "react"
import { api, apiTelling, explain, queryClient } from "../api.ts"
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
    const telling = apiTelling((bytes, total) => change(id, { percent: (100 * bytes) / total }))
    const contentType = file.type || "application/octet-stream"
    try {
      await telling.files.write(
        { user, agent, path },
        file,
        over ? { contentType } : { contentType, headers: { "If-None-Match": "*" } },
      )
      setList((all) => all.filter((u) => u.id !== id))
    } catch (error) {
      if (isApiError(error, "precondition_failed"))
        change(id, { error: t.files.exists, replace: () => void upload(id, path, file, true) })
      else change(id, { error: explain(error) })
    }
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
