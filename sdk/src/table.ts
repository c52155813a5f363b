// Made by sdk/generate.ts from the contract; a test keeps the two equal.
import type { contract } from "@autonomis/contract/endpoints.ts"
import type { Bytes, Events, EventsWithBody, OptionalBody, Plain, Row, Upload, WithBody } from "./calls.ts"

type C = typeof contract

/** One method for each endpoint, by its id. */
export interface Client {
  health: {
    root: Plain<C["health"]["root"]>
    get: Plain<C["health"]["get"]>
    ready: Plain<C["health"]["ready"]>
  }
  users: {
    create: WithBody<C["users"]["create"]>
    list: Plain<C["users"]["list"]>
    get: Plain<C["users"]["get"]>
    delete: Plain<C["users"]["delete"]>
    setTier: WithBody<C["users"]["setTier"]>
    setLimits: OptionalBody<C["users"]["setLimits"]>
    setState: WithBody<C["users"]["setState"]>
    rotateKey: OptionalBody<C["users"]["rotateKey"]>
    signInLink: Plain<C["platform"]["signInLink"]>
    impersonate: Plain<C["platform"]["impersonate"]>
  }
  plans: {
    list: Plain<C["plans"]["list"]>
  }
  agents: {
    create: WithBody<C["agents"]["create"]>
    list: Plain<C["agents"]["list"]>
    get: Plain<C["agents"]["get"]>
    update: OptionalBody<C["agents"]["update"]>
    configure: OptionalBody<C["agents"]["configure"]>
    delete: Plain<C["agents"]["delete"]>
    rotateKey: OptionalBody<C["agents"]["rotateKey"]>
    ping: Plain<C["agents"]["ping"]>
    connect: Plain<C["agents"]["connect"]>
    deployStatus: Plain<C["agents"]["deployStatus"]>
  }
  models: {
    list: Plain<C["models"]["list"]>
    test: WithBody<C["models"]["test"]>
  }
  chat: {
    send: WithBody<C["chat"]["send"]>
    stream: EventsWithBody<C["chat"]["stream"]>
  }
  runs: {
    get: Plain<C["chat"]["run"]>
    stream: Events<C["chat"]["runStream"]>
    cancel: Plain<C["chat"]["cancelRun"]>
  }
  sessions: {
    list: Plain<C["chat"]["sessions"]>
    get: Plain<C["chat"]["session"]>
    delete: Plain<C["chat"]["deleteSession"]>
    cut: Plain<C["chat"]["cutSession"]>
    image: Bytes<C["chat"]["sessionImage"]>
  }
  templates: {
    platformGet: Plain<C["templates"]["platformGet"]>
    platformPut: WithBody<C["templates"]["platformPut"]>
    userGet: Plain<C["templates"]["userGet"]>
    userPut: WithBody<C["templates"]["userPut"]>
    agentGet: Plain<C["templates"]["agentGet"]>
    agentPut: WithBody<C["templates"]["agentPut"]>
  }
  secrets: {
    put: WithBody<C["secrets"]["put"]>
    list: Plain<C["secrets"]["list"]>
    delete: Plain<C["secrets"]["delete"]>
  }
  files: {
    read: Bytes<C["files"]["read"]>
    write: Upload<C["files"]["write"]>
    delete: Plain<C["files"]["delete"]>
  }
  skills: {
    list: Plain<C["skills"]["list"]>
    read: Bytes<C["skills"]["read"]>
    upload: Upload<C["skills"]["upload"]>
    delete: Plain<C["skills"]["delete"]>
    search: Plain<C["skills"]["search"]>
    install: OptionalBody<C["skills"]["install"]>
  }
  usage: {
    get: Plain<C["usage"]["get"]>
  }
  logs: {
    user: Plain<C["usage"]["logs"]>
    platform: Plain<C["usage"]["platformLogs"]>
  }
  audit: {
    user: Plain<C["usage"]["audit"]>
    platform: Plain<C["usage"]["platformAudit"]>
  }
  me: {
    get: Plain<C["platform"]["me"]>
  }
  platform: {
    status: Plain<C["platform"]["status"]>
    pause: WithBody<C["platform"]["pause"]>
  }
  session: {
    create: WithBody<C["platform"]["signIn"]>
    delete: Plain<C["platform"]["signOut"]>
  }
}

export const TABLE: Record<string, Record<string, Row>> = {
  health: {
    root: { method: "GET", path: "/health", versioned: false, sends: "none", answers: "json" },
    get: { method: "GET", path: "/health", versioned: true, sends: "none", answers: "json" },
    ready: { method: "GET", path: "/ready", versioned: false, sends: "none", answers: "json" },
  },
  users: {
    create: { method: "POST", path: "/users", versioned: true, sends: "json", answers: "json" },
    list: { method: "GET", path: "/users", versioned: true, sends: "none", answers: "json" },
    get: { method: "GET", path: "/users/{user}", versioned: true, sends: "none", answers: "json" },
    delete: { method: "DELETE", path: "/users/{user}", versioned: true, sends: "none", answers: "none" },
    setTier: { method: "PUT", path: "/users/{user}/tier", versioned: true, sends: "json", answers: "json" },
    setLimits: { method: "PUT", path: "/users/{user}/limits", versioned: true, sends: "json", answers: "json" },
    setState: { method: "PUT", path: "/users/{user}/state", versioned: true, sends: "json", answers: "json" },
    rotateKey: { method: "POST", path: "/users/{user}/rotate-key", versioned: true, sends: "json", answers: "json" },
    signInLink: { method: "POST", path: "/users/{user}/sign-in-link", versioned: true, sends: "none", answers: "json" },
    impersonate: { method: "POST", path: "/users/{user}/impersonate", versioned: true, sends: "none", answers: "none" },
  },
  plans: {
    list: { method: "GET", path: "/plans", versioned: true, sends: "none", answers: "json" },
  },
  agents: {
    create: { method: "POST", path: "/users/{user}/agents", versioned: true, sends: "json", answers: "json" },
    list: { method: "GET", path: "/users/{user}/agents", versioned: true, sends: "none", answers: "json" },
    get: { method: "GET", path: "/users/{user}/agents/{agent}", versioned: true, sends: "none", answers: "json" },
    update: { method: "PATCH", path: "/users/{user}/agents/{agent}", versioned: true, sends: "json", answers: "json" },
    configure: {
      method: "PATCH",
      path: "/users/{user}/agents/{agent}/config",
      versioned: true,
      sends: "json",
      answers: "json",
    },
    delete: { method: "DELETE", path: "/users/{user}/agents/{agent}", versioned: true, sends: "none", answers: "none" },
    rotateKey: {
      method: "POST",
      path: "/users/{user}/agents/{agent}/rotate-key",
      versioned: true,
      sends: "json",
      answers: "json",
    },
    ping: { method: "GET", path: "/users/{user}/agents/{agent}/ping", versioned: true, sends: "none", answers: "json" },
    connect: {
      method: "GET",
      path: "/users/{user}/agents/{agent}/connect",
      versioned: true,
      sends: "none",
      answers: "json",
    },
    deployStatus: {
      method: "GET",
      path: "/users/{user}/deploy/status",
      versioned: true,
      sends: "none",
      answers: "json",
    },
  },
  models: {
    list: { method: "GET", path: "/users/{user}/models", versioned: true, sends: "none", answers: "json" },
    test: { method: "POST", path: "/users/{user}/models/test", versioned: true, sends: "json", answers: "json" },
  },
  chat: {
    send: {
      method: "POST",
      path: "/users/{user}/agents/{agent}/chat",
      versioned: true,
      sends: "json",
      answers: "json",
    },
    stream: {
      method: "POST",
      path: "/users/{user}/agents/{agent}/chat/stream",
      versioned: true,
      sends: "json",
      answers: "sse",
    },
  },
  runs: {
    get: {
      method: "GET",
      path: "/users/{user}/agents/{agent}/runs/{run_id}",
      versioned: true,
      sends: "none",
      answers: "json",
    },
    stream: {
      method: "GET",
      path: "/users/{user}/agents/{agent}/runs/{run_id}/stream",
      versioned: true,
      sends: "none",
      answers: "sse",
    },
    cancel: {
      method: "POST",
      path: "/users/{user}/agents/{agent}/runs/{run_id}/cancel",
      versioned: true,
      sends: "none",
      answers: "json",
    },
  },
  sessions: {
    list: {
      method: "GET",
      path: "/users/{user}/agents/{agent}/sessions",
      versioned: true,
      sends: "none",
      answers: "json",
    },
    get: {
      method: "GET",
      path: "/users/{user}/agents/{agent}/sessions/{session}",
      versioned: true,
      sends: "none",
      answers: "json",
    },
    delete: {
      method: "DELETE",
      path: "/users/{user}/agents/{agent}/sessions/{session}",
      versioned: true,
      sends: "none",
      answers: "none",
    },
    cut: {
      method: "DELETE",
      path: "/users/{user}/agents/{agent}/sessions/{session}/messages/{id}",
      versioned: true,
      sends: "none",
      answers: "none",
    },
    image: {
      method: "GET",
      path: "/users/{user}/agents/{agent}/sessions/{session}/messages/{id}/images/{hash}",
      versioned: true,
      sends: "none",
      answers: "bytes",
    },
  },
  templates: {
    platformGet: { method: "GET", path: "/agent-templates", versioned: true, sends: "none", answers: "json" },
    platformPut: { method: "PUT", path: "/agent-templates", versioned: true, sends: "json", answers: "json" },
    userGet: { method: "GET", path: "/users/{user}/agent-templates", versioned: true, sends: "none", answers: "json" },
    userPut: { method: "PUT", path: "/users/{user}/agent-templates", versioned: true, sends: "json", answers: "json" },
    agentGet: {
      method: "GET",
      path: "/users/{user}/agents/{agent}/templates",
      versioned: true,
      sends: "none",
      answers: "json",
    },
    agentPut: {
      method: "PUT",
      path: "/users/{user}/agents/{agent}/templates",
      versioned: true,
      sends: "json",
      answers: "json",
    },
  },
  secrets: {
    put: { method: "PUT", path: "/users/{user}/secrets", versioned: true, sends: "json", answers: "json" },
    list: { method: "GET", path: "/users/{user}/secrets", versioned: true, sends: "none", answers: "json" },
    delete: { method: "DELETE", path: "/users/{user}/secrets/{key}", versioned: true, sends: "none", answers: "none" },
  },
  files: {
    read: {
      method: "GET",
      path: "/users/{user}/agents/{agent}/files/{path*}",
      versioned: true,
      sends: "none",
      answers: "bytes",
    },
    write: {
      method: "PUT",
      path: "/users/{user}/agents/{agent}/files/{path*}",
      versioned: true,
      sends: "raw",
      answers: "json",
    },
    delete: {
      method: "DELETE",
      path: "/users/{user}/agents/{agent}/files/{path*}",
      versioned: true,
      sends: "none",
      answers: "none",
    },
  },
  skills: {
    list: { method: "GET", path: "/users/{user}/skills", versioned: true, sends: "none", answers: "json" },
    read: { method: "GET", path: "/users/{user}/skills/{id}/file", versioned: true, sends: "none", answers: "bytes" },
    upload: { method: "PUT", path: "/users/{user}/skills/{id}/file", versioned: true, sends: "raw", answers: "json" },
    delete: {
      method: "DELETE",
      path: "/users/{user}/skills/{id}/file",
      versioned: true,
      sends: "none",
      answers: "none",
    },
    search: { method: "GET", path: "/users/{user}/skills/registry", versioned: true, sends: "none", answers: "json" },
    install: {
      method: "POST",
      path: "/users/{user}/skills/{slug}/registry-install",
      versioned: true,
      sends: "json",
      answers: "json",
    },
  },
  usage: {
    get: { method: "GET", path: "/users/{user}/usage", versioned: true, sends: "none", answers: "json" },
  },
  logs: {
    user: { method: "GET", path: "/users/{user}/logs", versioned: true, sends: "none", answers: "json" },
    platform: { method: "GET", path: "/logs", versioned: true, sends: "none", answers: "json" },
  },
  audit: {
    user: { method: "GET", path: "/users/{user}/audit", versioned: true, sends: "none", answers: "json" },
    platform: { method: "GET", path: "/audit", versioned: true, sends: "none", answers: "json" },
  },
  me: {
    get: { method: "GET", path: "/me", versioned: true, sends: "none", answers: "json" },
  },
  platform: {
    status: { method: "GET", path: "/status", versioned: true, sends: "none", answers: "json" },
    pause: { method: "PUT", path: "/pause", versioned: true, sends: "json", answers: "json" },
  },
  session: {
    create: { method: "POST", path: "/session", versioned: true, sends: "json", answers: "none" },
    delete: { method: "DELETE", path: "/session", versioned: true, sends: "none", answers: "none" },
  },
}
