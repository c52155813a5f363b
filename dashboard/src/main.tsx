import "@mantine/core/styles.css"
import "@mantine/notifications/styles.css"
import "./styles.css"
import { MantineProvider } from "@mantine/core"
import { Notifications } from "@mantine/notifications"
import { QueryClientProvider } from "@tanstack/react-query"
import { RouterProvider } from "@tanstack/react-router"
import { createRoot } from "react-dom/client"
import { queryClient } from "./api.ts"
import { router } from "./router.tsx"
import { cssVariables, theme } from "./theme.ts"

const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? ""

/** A server that was updated no longer has the parts that an open page asks for: the page begins anew, but not in a loop. */
addEventListener("vite:preloadError", async () => {
  const last = Number(sessionStorage.getItem("autonomis.reloaded") ?? 0)
  const reachable = await fetch("/health").then(
    (answer) => answer.ok,
    () => false,
  )
  if (!reachable || Date.now() - last < 60_000) return
  sessionStorage.setItem("autonomis.reloaded", String(Date.now()))
  location.reload()
})

/** A file that misses its place must not take the page away. */
for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault())

const root = document.getElementById("root")

if (root !== null)
  createRoot(root).render(
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariables}
      defaultColorScheme="auto"
      getStyleNonce={() => nonce}
    >
      <QueryClientProvider client={queryClient}>
        <Notifications position="bottom-right" limit={4} />
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>,
  )
