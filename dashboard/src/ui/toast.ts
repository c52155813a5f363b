import { notifications } from "@mantine/notifications"
import { explain } from "../api.ts"
import { t } from "../texts.ts"

export function toast(message: string): void {
  notifications.show({ message, color: "green", autoClose: 4000, withBorder: true })
}

export function toastError(error: unknown): void {
  notifications.show({
    title: t.errors.title,
    message: explain(error),
    color: "red",
    autoClose: 9000,
    withBorder: true,
  })
}
