/** A native modal dialog that is open while it is mounted. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** The dialog element gives focus trapping, Escape and the backdrop for free. */
export function Dialog(props: { class: string; label: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      class={props.class}
      aria-label={props.label}
      onClose={props.onClose}
      onClick={(e) => e.target === ref.current && props.onClose()}
    >
      {props.children}
    </dialog>
  );
}
