import { useNavigate, useSearch } from "@tanstack/react-router"
import { useEffect, useState } from "react"

/** What of a page's state stands in its address, so that it can be linked to and come back to. */
const NAMES = ["path", "file", "q", "level", "agent", "month", "add"] as const
type AddressName = (typeof NAMES)[number]
export type AddressState = Partial<Record<AddressName, string>>

/** For routes: of an address's search only what is known, and only texts. */
export const addressState = (search: Record<string, unknown>): AddressState =>
  Object.fromEntries(
    NAMES.flatMap((name) => {
      const value = search[name]
      // A number in the address is read as one by the router.
      const text = typeof value === "number" ? String(value) : value
      return typeof text === "string" && text !== "" ? [[name, text]] : []
    }),
  )

const SETTLED_MS = 250

/** Like `useState`, kept in the address once it has settled; `normal` is left out there. */
export function useAddressState(name: AddressName, normal = ""): [string, (value: string) => void] {
  const search: AddressState = useSearch({ strict: false })
  const navigate = useNavigate()
  const there = search[name] ?? normal
  const [value, setValue] = useState(there)
  useEffect(() => {
    if (value === there) return
    const timer = setTimeout(() => {
      const change = ({ [name]: _, ...rest }: AddressState) => (value === normal ? rest : { ...rest, [name]: value })
      void navigate({ to: ".", search: change, replace: true })
    }, SETTLED_MS)
    return () => clearTimeout(timer)
  }, [value, there, name, normal, navigate])
  return [value, setValue]
}
