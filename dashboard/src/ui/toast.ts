import { isApiError } from "@autonomis/sdk/errors.ts"
import { notifications } from "@mantine/notifications"
import { explain } from "../api.ts"
import { t } from "../texts.ts"

export function toast(message: string): void {
  notifications.show({ message, color: "green", autoClose: 4000, withBorder: true })
}

export function toastError(error: unknown): void {
  // The sign-in form that takes the page's place says so already.
  if (isApiError(error, "unauthorized")) return
  notifications.show({
    title: t.errors.title,
    message: explain(error),
    color: "red",
    autoClose: 9000,
    withBorder: true,
  })
}
