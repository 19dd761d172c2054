import { TextInput } from "@mantine/core";
import { SearchIcon } from "./icon";
import { useSearchText } from "./filter";

/** Search is the text filter of a list; it asks the server when typing pauses. */
export function Search({ label, placeholder, value, onChange }: { label: string; placeholder?: string; value: string; onChange: (v: string) => void }) {
  const [text, setText] = useSearchText(value, onChange);
  return <TextInput label={label} placeholder={placeholder} leftSection={<SearchIcon size={16} />} value={text} onChange={(e) => setText(e.currentTarget.value)} flex="1 1 220px" maw={360} type="search" />;
}
