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
