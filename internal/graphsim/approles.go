package graphsim

import (
	"maps"
	"slices"
	"strings"
)

// appRoleIDs are the IDs of Graph's application roles, the same in every tenant (Graph
// permissions reference).
var appRoleIDs = map[string]string{
	"AppRoleAssignment.ReadWrite.All":     "06b708a9-e830-4db3-a914-8e69da51d44f",
	"Application.ReadWrite.All":           "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9",
	"Calendars.Read":                      "798ee544-9d2d-430c-a058-570e29e34338",
	"Calendars.ReadWrite":                 "ef54d2bf-783f-4e0f-bca1-3210c0444d99",
	"Channel.ReadBasic.All":               "59a6b24b-4225-4393-8165-ebaec5f55d7a",
	"ChannelMessage.Read.All":             "7b2449af-6ccd-4f4d-9f78-e550c193f0d1",
	"Chat.Read.All":                       "6b7d71aa-70aa-4810-a8d9-5d9fb2830017",
	"Contacts.Read":                       "089fe4d0-434a-44c5-8827-41ba8a0b17f5",
	"Contacts.ReadWrite":                  "6918b873-d17a-4dc1-b314-35f528134491",
	"DelegatedAdminRelationship.Read.All": "f6e9e124-4586-492f-adc0-c6f96e4823fd",
	"Files.Read.All":                      "01d4889c-1287-42c6-ac1f-5d1e02578ef6",
	"Files.ReadWrite.All":                 "75359482-378d-4052-8f01-80520e7db3cd",
	"Group-Conversation.Read.All":         "4f0a8235-6f6f-4ec7-9500-34b452a4a0c3",
	"Group.Read.All":                      "5b567255-7703-4780-807c-7be8301ae99b",
	"Group.ReadWrite.All":                 "62a82d76-70ea-41e2-9197-370581804d09",
	"Mail.Read":                           "810c84a8-4a9e-49e6-bf7d-12d183f40d01",
	"Mail.ReadBasic.All":                  "693c5e45-0940-467d-9b8a-1022fb9d42ef",
	"Mail.ReadWrite":                      "e2a3a72e-5f79-4c64-b1b1-878b674786c9",
	"MailboxFolder.Read.All":              "99280d24-a782-4793-93cc-0888549957f6",
	"MailboxFolder.ReadWrite.All":         "fef87b92-8391-4589-9da7-eb93dab7dc8a",
	"MailboxItem.Export.All":              "937550e9-33a3-494b-88ae-d9cd394b1fbb",
	"MailboxItem.ImportExport.All":        "76577085-e73d-4f1d-b26a-85fb33892327",
	"MailboxItem.Read.All":                "7d9f353d-a7bd-4fbb-822a-26d5dd39a3ce",
	"MailboxSettings.Read":                "40f97065-369a-49f4-947c-6a255697ae91",
	"Notes.Read.All":                      "3aeca27b-ee3a-4c2b-8ded-80376e2134a4",
	"Organization.Read.All":               "498476ce-e0fe-48b0-b801-37ba7e2685c6",
	"Sites.FullControl.All":               "a82116e5-55eb-4c41-a434-62fe8a61c773",
	"Sites.Manage.All":                    "0c0bf378-bf22-4481-8f81-9e89a9b4960a",
	"Sites.Read.All":                      "332a536c-c7ef-4017-ab91-336970924f0d",
	"Sites.ReadWrite.All":                 "9492366f-7969-46a4-8d15-ed1a20078fff",
	"Sites.Selected":                      "883ea226-0bf2-4a8f-9f9d-92c9162a727d",
	"Tasks.Read.All":                      "f10e1f91-74ed-437f-a6fd-d6ae88e26c1f",
	"Team.ReadBasic.All":                  "2280dda6-0bfd-44ee-a2f4-cb867cfc4c1e",
	"Teamwork.Migrate.All":                "dfb0dd15-61de-45b2-be36-d6a69fba3c79",
	"User.DeleteRestore.All":              "eccc023d-eccf-4e7b-9683-8813ab36cecc",
	"User.Read.All":                       "df021288-bdef-4463-88db-98f22de89214",
}

// roleID is the ID of an application role; one that is not in the table has an ID made
// from its name.
func roleID(name string) string {
	if id := appRoleIDs[name]; id != "" {
		return id
	}
	return guid(mixString(3, name))
}

// roleNames are the roles by their ID: those of the table and those that are granted by
// default.
var roleNames = func() map[string]string {
	names := map[string]string{}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(appRoleIDs)), DefaultRoles) {
		names[roleID(name)] = name
	}
	return names
}()

// roleName is the name of a role, "" for none.
func roleName(id string) string { return roleNames[strings.ToLower(id)] }

// graphRoles is what Graph's service principal says of its roles. A delegated scope of the
// same name has another ID, and stands elsewhere.
func graphRoles() []map[string]any {
	list := make([]map[string]any, 0, len(roleNames))
	for _, id := range slices.SortedFunc(maps.Keys(roleNames), func(a, b string) int { return strings.Compare(roleNames[a], roleNames[b]) }) {
		list = append(list, map[string]any{"id": id, "value": roleNames[id], "isEnabled": true, "displayName": roleNames[id],
			"allowedMemberTypes": []string{"Application"}, "origin": "Application"})
	}
	return list
}
