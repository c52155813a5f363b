import type { TestServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { barsPng } from "./png.ts"
import { uploadSkill } from "./upload-skill.ts"

const SOUL = "# Who you are\n\nYou keep the laboratory's books: exact, brief, polite.\n"
const TABLE = "region,quarter,revenue\nnorth,1,1204\nsouth,1,980\nnorth,2,1410\nsouth,2,1033\n"
const PLAN = `# Launch plan

1. Collect the figures of both regions.
2. Write the summary.
3. Ask *Grace* to read it.

| step | owner | due |
|---|---|---|
| figures | Ada | Monday |
| summary | Grace | Wednesday |
`
const SKILL = `---
name: weekly-report
description: Writes the weekly report from the figures in the workspace. Use when somebody asks for a report or a summary of the week.
metadata: {"openclaw": {"requires": {"env": ["REPORT_TOKEN"]}}}
---

# Weekly report

Read every CSV in \`figures/\`, sum it by region, and write \`report.md\`.
`

/** What the demo model is told to do: it obeys such lines, so that every part of an answer can be seen. */
export const DEMO_TASK = `Please sum up the first quarter.

/tool write {"path":"report.py","content":"import csv\\n\\ntotal = sum(int(row['revenue']) for row in csv.DictReader(open('figures/revenue.csv')))\\nprint('total', total)\\n"}
/tool bash {"command":"python3 report.py || echo total 4627"}`

/** An account with something on every page. Returns its key. */
export async function seed(server: TestServer): Promise<{ user: string; key: string }> {
  const user = "ada"
  const made = await expect(server, 201, "POST", "/users", {
    user,
    display_name: "Ada Lovelace",
    email: "ada@example.com",
    tier: "pro",
  })
  for (const [name, display_name] of [
    ["grace", "Grace Hopper"],
    ["linus", null],
  ])
    await expect(server, 201, "POST", "/users", { user: name, display_name })
  await expect(server, 201, "POST", "/users/ada/agents", {
    agents: [
      { name: "manager", description: "Keeps the others busy and the books in order.", templates: { "SOUL.md": SOUL } },
      { name: "researcher", description: "Answers questions with evidence that can be checked." },
      { name: "coder", description: "Writes and mends code, and shows that it runs.", config: { max_turns: 30 } },
    ],
  })
  await until(
    async () => (await server.call("GET", "/users/ada/deploy/status")).body.status === "ready",
    "the agents are set up",
    60_000,
  )
  const files = "/users/ada/agents/manager/files"
  await expect(server, 201, "PUT", `${files}/figures/revenue.csv`, TABLE)
  await expect(server, 201, "PUT", `${files}/plan.md`, PLAN)
  await expect(server, 200, "PUT", "/users/ada/secrets", {
    secrets: [
      { key: "GITHUB_TOKEN", value: "ghp_0123456789abcdefghij" },
      { key: "DATABASE_PASSWORD", value: "correct horse battery", agents: ["coder"] },
      { key: "PIN", value: "1234" },
    ],
  })
  const skill = await uploadSkill(server, { user, skill: "weekly-report" }, SKILL)
  if (skill.status !== 201) throw new Error(`the skill: ${skill.status} ${await skill.text()}`)
  await expect(server, 200, "POST", "/users/ada/agents/manager/chat", {
    session: "first-quarter",
    messages: [{ role: "user", content: DEMO_TASK }],
  })
  const chart = barsPng([0.72, 0.55, 0.9, 0.64], [66, 99, 235]).toString("base64")
  const question = [
    { type: "text", text: "Which region did best in this chart?" },
    { type: "image", mime_type: "image/png", data: chart },
  ]
  await expect(server, 200, "POST", "/users/ada/agents/manager/chat", {
    session: "chart",
    messages: [{ role: "user", content: question }],
  })
  const figures = barsPng([0.42, 0.8, 0.58, 0.7], [18, 148, 110])
  await expect(server, 201, "PUT", `${files}/figures/south.png`, figures)
  await expect(server, 200, "POST", "/users/ada/agents/manager/chat", {
    session: "chart",
    messages: [{ role: "user", content: 'And this one?\n/tool read {"path":"figures/south.png"}' }],
  })
  await expect(server, 200, "POST", "/users/ada/agents/manager/chat", {
    session: "hello",
    messages: [{ role: "user", content: "What can you do for me?" }],
  })
  return { user, key: made.api_key }
}

async function expect(server: TestServer, status: number, method: string, path: string, body: unknown) {
  const answer = await server.call(method, path, body)
  if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body
}
