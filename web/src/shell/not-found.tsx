import { Empty, Page, To } from "../components";

export function NotFound() {
  return (
    <Page title="Nothing here">
      <Empty>
        <p>
          No view has this address. <To path="/">Go to the overview</To>, or choose one of the views beside.
        </p>
      </Empty>
    </Page>
  );
}
