import { type CSSVariablesResolver, createTheme } from "@mantine/core"
import { t } from "./texts.ts"

/** Colours that stand as text on a tint of themselves (badges, light buttons). */
const TINTED = ["indigo", "blue", "green", "teal", "yellow", "orange", "red", "gray", "grape"]

export const theme = createTheme({
  primaryColor: "indigo",
  colors: {
    dark: [
      "#d9dce3",
      "#b7bcc7",
      "#959ba8",
      "#6d7380",
      "#434955",
      "#323741",
      "#23272f",
      "#181b21",
      "#121419",
      "#0c0e12",
    ],
  },
  primaryShade: { light: 8, dark: 8 },
  defaultRadius: "md",
  cursorType: "pointer",
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  headings: { fontWeight: "650", sizes: { h1: { fontSize: "1.5rem" }, h2: { fontSize: "1.15rem" } } },
  components: {
    Badge: { styles: { root: { textTransform: "none", fontWeight: 600, flex: "none" } } },
    Tooltip: { defaultProps: { openDelay: 300 } },
    // The page's own parts scroll, not its body: there is nothing to lock (and the lock's style would be refused).
    Modal: {
      defaultProps: {
        centered: true,
        lockScroll: false,
        transitionProps: { duration: 120 },
        closeButtonProps: { "aria-label": t.close },
      },
    },
    Drawer: { defaultProps: { lockScroll: false, closeButtonProps: { "aria-label": t.close } } },
    // The dialog is no second page with a banner of its own.
    ModalHeader: { defaultProps: { role: "none" } },
    DrawerHeader: { defaultProps: { role: "none" } },
    Notification: {
      defaultProps: { closeButtonProps: { "aria-label": t.close } },
      styles: { description: { color: "var(--mantine-color-dimmed)" } },
    },
    Skeleton: { defaultProps: { radius: "md" } },
  },
})

/** Mantine's greys and tints are below 4.5:1 in places; these are above it in both schemes. */
export const cssVariables: CSSVariablesResolver = () => {
  const light: Record<string, string> = {
    "--mantine-color-dimmed": "#555c66",
    "--mantine-color-placeholder": "#6b727c",
    "--mantine-color-error": "#b91c1c",
    "--mantine-color-anchor": "var(--mantine-color-indigo-9)",
    "--mantine-color-body": "#ffffff",
    "--at-sunken": "#f6f7f9",
    "--at-line": "#e2e5ea",
    "--at-user": "#eef0ff",
    "--at-code": "#f4f5f8",
  }
  const dark: Record<string, string> = {
    "--mantine-color-dimmed": "#a7adb8",
    "--mantine-color-placeholder": "#9299a5",
    "--mantine-color-error": "#ff8f8f",
    "--mantine-color-anchor": "var(--mantine-color-indigo-3)",
    "--mantine-color-body": "#16181d",
    "--mantine-color-default": "#1e2128",
    "--mantine-color-default-border": "#3a3f4a",
    "--mantine-color-yellow-light": "#3a2f14",
    "--mantine-color-red-light": "#41191c",
    "--mantine-color-green-light": "#14351f",
    "--at-sunken": "#101216",
    "--at-line": "#2b2f38",
    "--at-user": "#262b4d",
    "--at-code": "#0d0f13",
  }
  for (const color of TINTED) {
    light[`--mantine-color-${color}-light-color`] =
      color === "yellow" ? "#7a4d00" : `color-mix(in srgb, var(--mantine-color-${color}-9) 80%, black)`
    dark[`--mantine-color-${color}-light-color`] = `var(--mantine-color-${color}-2)`
  }
  return { variables: {}, light, dark }
}
