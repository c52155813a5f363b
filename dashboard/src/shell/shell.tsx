import type { Me } from "@autonomis/contract/platform.ts"
import { ActionIcon, Button, Group, Menu, Tooltip, useComputedColorScheme, useMantineColorScheme } from "@mantine/core"
import { useMutation } from "@tanstack/react-query"
import { Link, Outlet, useMatchRoute, useNavigate } from "@tanstack/react-router"
import { useEffect, useState } from "react"
import { api, changePerson } from "../api.ts"
import { API_DOCS, routes } from "../paths.ts"
import { t } from "../texts.ts"
import { Confirm } from "../ui/confirm.tsx"
import { Icon, type IconName } from "../ui/icon.tsx"
import { toastError } from "../ui/toast.ts"
import { forgetUnsaved, LeaveGuard, useHasUnsaved } from "../ui/unsaved.tsx"
import { useCurrentUser } from "./current-user.ts"
import { comeBack, lookAt, lookAway } from "./looking.ts"
import { UserPicker } from "./user-picker.tsx"

const USER_LINKS = [
  { to: routes.chat, icon: "chat", label: t.nav.chat },
  { to: routes.agents, icon: "agents", label: t.nav.agents },
  { to: routes.secrets, icon: "secrets", label: t.nav.secrets },
  { to: routes.skills, icon: "skills", label: t.nav.skills },
  { to: routes.usage, icon: "usage", label: t.nav.usage },
  { to: routes.logs, icon: "logs", label: t.nav.logs },
] as const satisfies readonly { to: string; icon: IconName; label: string }[]

/** Ends this sign-in, or all of the account's; the sign-in form takes the page's place. */
export function useSignOut() {
  const navigate = useNavigate()
  return useMutation({
    mutationFn: (all: boolean) => api.session.delete(all ? { all: "true" } : {}),
    onError: toastError,
    onSuccess: async () => {
      lookAway()
      forgetUnsaved()
      await changePerson(true)
      await navigate({ to: routes.home })
    },
  })
}

export function Shell({ me }: { me: Me }) {
  const user = useCurrentUser(me)
  return (
    <div className="at-shell">
      <LeaveGuard />
      <a className="at-skip" href="#main">
        {t.nav.skip}
      </a>
      <header className="at-side">
        <div className="at-brand">
          <img src="/favicon.svg" alt="" width={26} height={26} />
          <span>{t.app}</span>
        </div>
        {me.kind === "admin" ? <UserPicker current={user} /> : null}
        <nav className="at-nav" aria-label={t.nav.main}>
          {me.kind === "agent" ? null : <NavLinks user={user} admin={me.kind === "admin"} />}
        </nav>
        <div className="at-side-end">
          <ThemeButton />
          <AccountMenu me={me} user={user} />
        </div>
      </header>
      <main id="main" tabIndex={-1} className="at-main">
        {me.impersonated_by === null ? null : <Impersonation user={me.user ?? ""} />}
        <Outlet />
      </main>
    </div>
  )
}

function NavLinks({ user, admin }: { user: string | null; admin: boolean }) {
  const matchRoute = useMatchRoute()
  const besideAgents = matchRoute({ to: routes.newAgents }) || matchRoute({ to: routes.defaults })
  return (
    <>
      {user === null
        ? null
        : USER_LINKS.map(({ to, icon, label }) => (
            <Link
              key={to}
              to={to}
              params={{ user }}
              className="at-navlink"
              activeProps={{ "aria-current": "page" }}
              inactiveProps={to === routes.agents && besideAgents ? { "aria-current": "true" } : {}}
            >
              <Icon name={icon} />
              <span>{label}</span>
            </Link>
          ))}
      {admin ? (
        <Link to={routes.admin} className="at-navlink" activeProps={{ "aria-current": "page" }}>
          <Icon name="platform" />
          <span>{t.nav.platform}</span>
        </Link>
      ) : null}
    </>
  )
}

function ThemeButton() {
  const { setColorScheme } = useMantineColorScheme()
  const scheme = useComputedColorScheme("light")
  const next = scheme === "dark" ? "light" : "dark"
  return (
    <Tooltip label={t.nav.theme(next)}>
      <ActionIcon
        variant="subtle"
        color="gray"
        size="lg"
        aria-label={t.nav.theme(next)}
        onClick={() => setColorScheme(next)}
      >
        <Icon name={next === "dark" ? "moon" : "sun"} />
      </ActionIcon>
    </Tooltip>
  )
}

function AccountMenu({ me, user }: { me: Me; user: string | null }) {
  const navigate = useNavigate()
  const signOut = useSignOut()
  const hasUnsaved = useHasUnsaved()
  const [asking, setAsking] = useState<{ everywhere: boolean } | null>(null)
  const leave = (everywhere: boolean) => (hasUnsaved ? setAsking({ everywhere }) : signOut.mutate(everywhere))
  const name = me.kind === "admin" ? t.nav.admin : (me.user ?? "")
  return (
    <>
      <Confirm
        opened={asking !== null}
        title={t.unsaved.title}
        text={t.unsaved.text}
        action={t.nav.signOut}
        cancel={t.unsaved.stay}
        busy={signOut.isPending}
        onClose={() => setAsking(null)}
        onConfirm={() => signOut.mutate(asking?.everywhere ?? false)}
      />
      <Menu position="top-end" withinPortal={false} withInitialFocusPlaceholder={false} width={220}>
        <Menu.Target>
          <Button
            className="at-account"
            variant="subtle"
            color="gray"
            size="sm"
            leftSection={<Icon name="account" />}
            aria-label={t.nav.account(name)}
          >
            <span className="at-account-name">{name}</span>
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {user !== null && me.kind !== "agent" ? (
            <Menu.Item onClick={() => navigate({ to: routes.account, params: { user } })}>
              {t.nav.planAndLimits}
            </Menu.Item>
          ) : null}
          <Menu.Item component="a" href={API_DOCS} target="_blank" rel="noreferrer">
            {t.nav.docs}
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item onClick={() => leave(false)}>{t.nav.signOut}</Menu.Item>
          <Menu.Item onClick={() => leave(true)}>{t.nav.signOutEverywhere}</Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </>
  )
}

/** Nobody may forget whose account they are in. */
function Impersonation({ user }: { user: string }) {
  const navigate = useNavigate()
  useEffect(() => lookAt(user), [user])
  const leave = useMutation({
    mutationFn: async () => {
      const isAdmin = await comeBack()
      // The administrator's own sign-in has ended too, or there was none: then nobody is left signed in.
      if (!isAdmin) await api.session.delete({})
      return isAdmin
    },
    onError: toastError,
    onSuccess: async (isAdmin) => {
      if (isAdmin) await navigate({ to: routes.adminUser, params: { user } })
      await changePerson(!isAdmin)
    },
  })
  return (
    <Group className="at-impersonation" justify="space-between" wrap="nowrap" role="status">
      <span>{t.nav.impersonating(user)}</span>
      <Button size="xs" color="dark" variant="white" loading={leave.isPending} onClick={() => leave.mutate()}>
        {t.nav.stopImpersonating}
      </Button>
    </Group>
  )
}
