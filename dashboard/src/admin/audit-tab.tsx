import { AuditList } from "../ui/audit-list.tsx"

export function AuditTab() {
  return (
    <div className="at-card">
      <AuditList user={null} />
    </div>
  )
}
