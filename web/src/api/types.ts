// Names for the shapes of the admin API. They are generated from the server's OpenAPI document
// (make gen); only what the document cannot say, the live events, is written by hand.
import type { components } from "./schema.gen";

type Schemas = components["schemas"];

export interface Page<T> {
  items: T[];
  next?: string;
  /** A search may end before a page is full: it has looked at all down to this time. */
  searched_until?: string;
}

export type Problem = Partial<Schemas["Problem"]>;
export type Me = Schemas["Me"];
export type Server = Schemas["Server"];
export type Trust = Schemas["TrustBody"];
export type AuditEntry = Schemas["Row"];
export type ApiToken = Schemas["Token"];
export type EnrollmentToken = Schemas["EnrollmentTokenView"];
export type NewEnrollmentToken = Schemas["NewEnrollmentToken"];
export type Device = Schemas["DeviceView"];
export type Upload = Schemas["Upload"];
export type Package = Schemas["PackageBody"];
export type PackageSpec = Schemas["PackageCreateInputBody"];
export type Action = PackageSpec["action"];
export type ExitCode = Schemas["ExitCode"];
export type Detection = Schemas["Detection"];
export type Assignment = Schemas["AssignmentView"];
export type Deployment = Schemas["Deployment"];
export type TimelineEntry = Schemas["TimelineEntry"];
export type Inventory = Schemas["InventoryView"];
export type SectionInfo = Schemas["SectionView"];
export type SectionRows = Schemas["SectionRows"];
export type SoftwareTitle = Schemas["SoftwareTitle"];
export type SoftwareDetail = Schemas["SoftwareDetail"];
export type Installed = Schemas["InstalledSoftware"];
export type SoftwareChange = Schemas["SoftwareChange"];
export type Task = Schemas["Task"];
export type TaskItem = Schemas["TaskItem"];
export type DeviceEvent = Schemas["EventView"];
export type LogLine = Schemas["Line"];
export type DeviceLogSetting = Schemas["Setting"];
export type Group = Schemas["GroupView"];
export type Member = Schemas["MemberView"];
export type Release = Schemas["ReleaseBody"];
export type Updated = Schemas["UpdateOutputBody"];
export type Footprint = Schemas["Footprint"];
export type Progress = Schemas["Progress"];

/** LiveEvent is one message of the event socket: something of this id has changed. */
export interface LiveEvent {
  type: string;
  id: string;
  device_id?: string;
  package_id?: string;
  progress?: Progress;
}
