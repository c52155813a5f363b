const PATHS = {
  chat: "M4 5h16v11H9l-5 4V5Z",
  agents:
    "M12 3v3M6 8h12a1 1 0 0 1 1 1v8a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2V9a1 1 0 0 1 1-1ZM9 13h.01M15 13h.01M2 12v3M22 12v3",
  secrets: "M14 10a4 4 0 1 0-4 4h1l2 2h2v2h2v2h3v-3l-6.5-6.5M8.5 9.5h.01",
  skills: "M12 3l2.6 5.6 6 .7-4.4 4.1 1.2 6L12 16.4 6.6 19.4l1.2-6L3.4 9.3l6-.7L12 3Z",
  usage: "M4 20V10M10 20V4M16 20v-7M21 20H3",
  logs: "M5 4h14v16H5zM8.5 9h7M8.5 12.5h7M8.5 16h4",
  platform: "M4 5h16v5H4zM4 14h16v5H4zM7.5 7.5h.01M7.5 16.5h.01",
  account: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4 21c1-4 4-6 8-6s7 2 8 6",
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.5l4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6L6 18",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  edit: "M4 20h4L19 9l-4-4L4 16v4ZM13 7l4 4",
  retry: "M4 12a8 8 0 1 1 2.5 5.8M4 20v-5h5",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9h.01",
  tool: "M14.5 6.5a4 4 0 0 1 5-1l-2.7 2.7 1 2 2 1L22 8.5a4 4 0 0 1-5.5 4.6L8 21l-3-3 8-8.3a4 4 0 0 1 1.5-3.2Z",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  folder: "M3 6h7l2 2h9v11H3z",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  upload: "M12 16V5M7 9l5-5 5 5M5 20h14",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  back: "M15 5l-7 7 7 7",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  brain:
    "M12 5a3 3 0 0 0-5.8 1A3 3 0 0 0 5 11.6 3.5 3.5 0 0 0 8 18a3 3 0 0 0 4 1 3 3 0 0 0 4-1 3.5 3.5 0 0 0 3-6.4A3 3 0 0 0 17.8 6 3 3 0 0 0 12 5ZM12 5v14",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM21 21l-5-5",
  warning: "M12 4 2.5 20h19L12 4ZM12 10v4.5M12 17.5h.01",
  exit: "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
  menu: "M4 6h16M4 12h16M4 18h16",
  down: "M6 9l6 6 6-6",
} as const

export type IconName = keyof typeof PATHS

/** A drawing beside a text, or inside a button that has a name; never the only bearer of a meaning. */
export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg
      className="at-icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  )
}
