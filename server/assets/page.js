// Opens GraphiQL on the prepared queries, a tab each; what a visitor typed before stays as they left it.
(function () {
  const prepared = JSON.parse(document.getElementById("prepared").textContent);
  const scheme = location.protocol === "https:" ? "wss://" : "ws://";
  const fetcher = GraphiQL.createFetcher({
    url: "/graphql",
    wsClient: graphqlWs.createClient({ url: scheme + location.host + "/graphql/ws" }),
  });
  const page = React.createElement(GraphiQL, {
    fetcher: fetcher,
    defaultTabs: prepared.map((query) => ({ query: query })),
    defaultEditorToolsVisibility: true,
    isHeadersEditorEnabled: true,
  });
  ReactDOM.createRoot(document.getElementById("graphiql")).render(page);
})();
