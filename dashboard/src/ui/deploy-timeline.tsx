import type { DeployStatus } from "@autonomis/contract/agents.ts"
import { followDeploy } from "@autonomis/sdk/follow.ts"
import { Progress, Stack, Text, Timeline } from "@mantine/core"
import { useEffect, useState } from "react"
import { api, queryClient, sentence } from "../api.ts"
import { t } from "../texts.ts"
import { duration } from "./format.ts"
import { Icon } from "./icon.tsx"
import { Failure, Loading } from "./states.tsx"

/** Where setting up stands, live until it has ended; a failure with its cause and cure. */
export function DeployTimeline({
  user,
  agents,
  brief = false,
}: {
  user: string
  agents: readonly string[]
  /** Leaves out what is done. */
  brief?: boolean
}) {
  const [status, setStatus] = useState<DeployStatus | null>(null)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    const stop = new AbortController()
    const read = async () => {
      try {
        for await (const next of followDeploy(api, user, stop.signal)) setStatus(next)
        await queryClient.invalidateQueries({ queryKey: ["agents", user] })
        await queryClient.invalidateQueries({ queryKey: ["agent", user] })
      } catch (failure) {
        if (!stop.signal.aborted) setError(failure)
      }
    }
    void read()
    return () => stop.abort()
  }, [user])
  if (error) return <Failure error={error} />
  if (status === null) return <Loading rows={2} height={32} />
  const steps = status.steps.filter((step) => agents.includes(step.agent) && !(brief && step.status === "done"))
  const active = steps.findLastIndex((step) => step.status !== "pending")
  return (
    <Stack gap="md">
      <Progress
        value={status.progress}
        aria-label={t.deploy.progress}
        color={status.status === "failed" ? "red" : "teal"}
      />
      <Timeline active={active} bulletSize={22} lineWidth={2}>
        {steps.map((step) => (
          <Timeline.Item
            key={`${step.agent}/${step.name}`}
            color={step.status === "failed" ? "red" : "teal"}
            bullet={
              step.status === "done" ? (
                <Icon name="check" size={12} />
              ) : step.status === "failed" ? (
                <Icon name="close" size={12} />
              ) : null
            }
            title={agents.length > 1 ? `${step.agent}: ${nameOf(step.name)}` : nameOf(step.name)}
          >
            <Text size="sm" c="dimmed">
              {t.deploy[step.status]}
              {step.started_at && step.finished_at
                ? ` · ${duration(Date.parse(step.finished_at) - Date.parse(step.started_at))}`
                : ""}
            </Text>
            {step.error ? (
              <Text size="sm" c="var(--mantine-color-error)">
                {sentence(step.error.cause)} {sentence(step.error.cure)}
              </Text>
            ) : null}
          </Timeline.Item>
        ))}
      </Timeline>
    </Stack>
  )
}

const nameOf = (step: string) => t.deploy.steps[step] ?? step
