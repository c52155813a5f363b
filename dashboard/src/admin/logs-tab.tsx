import { LogView } from "../ui/log-view.tsx"

export function PlatformLogsTab() {
  return <LogView user={null} />
}
