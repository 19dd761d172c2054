import type { ReactNode } from "react";

/** Small line drawings; always decoration beside words, so hidden from screen readers. */
function icon(path: ReactNode) {
  return function Icon({ size = 18 }: { size?: number }) {
    return (
      <svg width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
        {path}
      </svg>
    );
  };
}

export const DeviceIcon = icon(<path d="M4 5h16v11H4zM9 20h6M12 16v4" />);
export const PackageIcon = icon(<path d="M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9" />);
export const DeploymentIcon = icon(<path d="M12 3v12M7.5 10.5L12 15l4.5-4.5M4 20h16" />);
export const AssignmentIcon = icon(<path d="M5 12h9M10 7l5 5-5 5M19 5v14" />);
export const TicketIcon = icon(<path d="M4 8V6h16v2a4 4 0 000 8v2H4v-2a4 4 0 000-8zM13 6v12" />);
export const KeyIcon = icon(<><circle cx="8" cy="15" r="4" /><path d="M11 12l9-9M16 7l3 3" /></>);
export const ShieldIcon = icon(<path d="M12 3l7.5 3v6c0 4.5-3.2 7.7-7.5 9-4.3-1.3-7.5-4.5-7.5-9V6zM8.8 12l2.3 2.3 4.2-4.6" />);
export const LogIcon = icon(<path d="M5 4h14v16H5zM9 8h6M9 12h6M9 16h4" />);
export const SoftwareIcon = icon(<path d="M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM16.5 13.5v6M13.5 16.5h6" />);
export const TaskIcon = icon(<path d="M4 6.5l1.5 1.5L8 5M4 12.5l1.5 1.5L8 11M4 18.5l1.5 1.5L8 17M11.5 6.5H20M11.5 12.5H20M11.5 18.5H20" />);
export const EventIcon = icon(<path d="M3 12h4l2.5-7 5 14 2.5-7h4" />);
export const LinesIcon = icon(<path d="M4 6h16M4 10h11M4 14h14M4 18h8" />);
export const GroupIcon = icon(<path d="M3 4h8v6H3zM13 14h8v6h-8zM7 10v7h6M11 7h6v7" />);
export const ReleaseIcon = icon(<path d="M20 12a8 8 0 11-2.3-5.7M20 3.5v4h-4M12 8v4l2.5 2" />);
export const ModuleIcon = icon(<path d="M9 4a2 2 0 014 0v2h5v5h-2a2 2 0 000 4h2v5H5v-5h2a2 2 0 000-4H5V6h4z" />);
export const SearchIcon = icon(<><circle cx="11" cy="11" r="6" /><path d="M20 20l-4.6-4.6" /></>);
export const PlusIcon = icon(<path d="M12 5v14M5 12h14" />);
export const CloseIcon = icon(<path d="M6 6l12 12M18 6L6 18" />);
export const CheckIcon = icon(<path d="M5 12.5l4.5 4.5L19 7.5" />);
export const WarningIcon = icon(<path d="M12 4l9 16H3zM12 10v4.5M12 17.4v.1" />);
export const CopyIcon = icon(<path d="M9 9h11v11H9zM15 9V4H4v11h5" />);
export const SunIcon = icon(<><circle cx="12" cy="12" r="4" /><path d="M12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1 1M17.4 17.4l1 1M18.4 5.6l-1 1M6.6 17.4l-1 1" /></>);
export const UserIcon = icon(<><circle cx="12" cy="8" r="4" /><path d="M4.5 20c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5" /></>);
export const UploadIcon = icon(<path d="M12 16V4M7.5 8.5L12 4l4.5 4.5M4 20h16" />);
