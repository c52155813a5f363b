import { isApiError } from "@autonomis/sdk/errors.ts"
import { api } from "../api.ts"

const LOOKING_AT = "autonomis.looking-at"

/** A name, no key: whose account an administrator looks at in this browser. */
export const lookingAt = () => localStorage.getItem(LOOKING_AT)
export const lookAt = (user: string) => localStorage.setItem(LOOKING_AT, user)
export const lookAway = () => localStorage.removeItem(LOOKING_AT)

/** Back to the administrator's own sign-in; false when that has ended too. */
export async function comeBack(): Promise<boolean> {
  try {
    await api.session.create({}, { return: true })
    lookAway()
    return true
  } catch (error) {
    if (!isApiError(error, "unauthorized")) throw error
    lookAway()
    return false
  }
}
